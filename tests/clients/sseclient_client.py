import sys

import requests
import sseclient

from told import follow


def connect(last_event_id):
    headers = {"Accept": "text/event-stream"}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    response = requests.get(sys.argv[1], headers=headers, stream=True, timeout=60)
    for event in sseclient.SSEClient(response).events():
        yield event.event, event.id, event.data, event.retry


follow(connect)
