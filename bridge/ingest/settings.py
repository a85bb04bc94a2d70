"""Where telemetry comes from, and how it is read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from bridge.core.addresses import parse_mqtt_url
from bridge.core.setting_types import Names, OptionalPath, check_topic_filters


def _check_mqtt_url(value: SecretStr) -> SecretStr:
    parse_mqtt_url(value.get_secret_value())
    return value


class IngestSettings(BaseSettings):
    """The part of ``Settings`` that this wing owns."""

    mqtt_url: Annotated[SecretStr, AfterValidator(_check_mqtt_url)] = Field(
        SecretStr("mqtt://localhost:1883"),
        description="The MQTT broker: mqtt:// or mqtts://, [user:password@]host[:port]. `embedded` starts one in this "
        "process (loopback only, no passwords, for trying out).",
    )
    mqtt_topics: Annotated[Names, AfterValidator(check_topic_filters)] = Field(
        ("#",), description="Topic filters to subscribe to, comma-separated. They must not overlap."
    )
    mqtt_client_id: str = Field(
        "", max_length=128, description="MQTT client id; empty makes telemetry-bridge- with a random end."
    )
    mqtt_qos: int = Field(0, ge=0, le=1, description="Highest QoS asked for. 1 costs one PUBACK per message.")
    mqtt_version: Literal["5", "3.1.1"] = Field("5", description="MQTT protocol version to speak.")
    mqtt_ca_file: OptionalPath = Field(
        None, description="PEM file with the authority that signed the broker's certificate, if it is a private one."
    )
    decoder: Literal["auto"] = Field("auto", description="How payloads are read; `auto` takes any JSON.")
    device_id_pointers: Names = Field(
        ("/data/DEVICE_ID", "/device/uniqueId", "/end_device_ids/device_id", "/deviceInfo/devEui", "/ident"),
        description="JSON pointers to the device id, comma-separated; the first that finds one counts.",
    )
    device_id_topic: str = Field(
        "", description="Where the id stands in the topic: fleet/{device_id}/position, with + and # if need be."
    )
    position_pointers: Names = Field(
        ("/data/LAT", "/position/latitude", "/location/latitude", "/position.latitude", "/lat", "/latitude"),
        description="JSON pointers to latitudes, for formats that are not known by their shape; the longitude and the "
        "rest are looked for beside it. A message with a valid fix is a position: a newer one may replace it.",
    )
    max_payload_bytes: int = Field(
        128 * 1024, ge=1, le=16 * 1024 * 1024, description="Largest MQTT payload that is passed on, in bytes."
    )
