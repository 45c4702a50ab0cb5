import sys

import httpx
from httpx_sse import SSEError, connect_sse

from told import follow


def connect(last_event_id):
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    timeout = httpx.Timeout(60)
    try:
        with httpx.Client(timeout=timeout) as client, connect_sse(
            client, "GET", sys.argv[1], headers=headers
        ) as source:
            for event in source.iter_sse():
                yield event.event, event.id, event.data, event.retry
    except (httpx.TransportError, SSEError) as error:
        raise OSError(str(error)) from error


follow(connect)
