"""The MQTT side: the only package of the bridge's server that imports paho."""

from bridge.consumer.options import ConsumerOptions, ConsumerStatistics
from bridge.consumer.thread import Consumer

__all__ = ["Consumer", "ConsumerOptions", "ConsumerStatistics"]
