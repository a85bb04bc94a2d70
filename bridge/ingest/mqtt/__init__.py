"""The MQTT side: the only package of the bridge's server that imports paho."""

from bridge.ingest.mqtt.consumer import Consumer, Door
from bridge.ingest.mqtt.limits import ConsumerLimits
from bridge.ingest.mqtt.link import in_words
from bridge.ingest.mqtt.options import ConsumerOptions, ConsumerStatistics

__all__ = ["Consumer", "ConsumerLimits", "ConsumerOptions", "ConsumerStatistics", "Door", "in_words"]
