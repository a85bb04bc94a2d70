"""The MQTT side: the only package of the bridge's server that imports paho."""

from bridge.consumer.link import in_words
from bridge.consumer.options import ConsumerOptions, ConsumerStatistics
from bridge.consumer.thread import Consumer, Door

__all__ = ["Consumer", "ConsumerOptions", "ConsumerStatistics", "Door", "in_words"]
