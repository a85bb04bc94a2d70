"""What a viewer sees on the public stream."""

from __future__ import annotations

from tests.functional.share.stream.served import SharingBridge, seed


async def test_viewer_is_shown_the_last_position_and_then_the_live_ones(bridge: SharingBridge) -> None:
    """By alias, marked replay until now and live after; the device id appears nowhere."""
    share, code = await bridge.share("truck-7")
    bridge.publish(seed("truck-7", lat=1.0))
    viewer = await bridge.view(await bridge.token_of(code))
    hello = await viewer.expect("hello")
    assert hello["share"]["devices"] == [{"alias": "Van 1"}]
    first = await viewer.next()
    assert first is not None and first["replay"] is True and first["alias"] == "Van 1" and first["data"]["lat"] == 1.0
    bridge.publish(seed("truck-7", lat=2.0), seed("truck-8", lat=3.0))
    second = await viewer.next()
    assert second is not None and "replay" not in second and second["data"]["lat"] == 2.0
    assert await viewer.quiet() == []
    assert "truck" not in "".join(viewer.texts) and share.id not in "".join(viewer.texts)
