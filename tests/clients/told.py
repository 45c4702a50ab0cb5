"""What every client tells its test: one line of JSON per event, and where to go on after a failure."""

import json
import sys
import time


def follow(connect):
    """Reads with `connect(last_event_id)`, again and again, until the end of the session."""
    last_event_id, retry = None, 0.1
    while True:
        try:
            for event, event_id, data, event_retry in connect(last_event_id):
                print(json.dumps({"event": event, "id": event_id or "", "data": data}), flush=True)
                last_event_id = event_id or last_event_id
                retry = int(event_retry) / 1000 if event_retry else retry
                if event == "reveille.end":
                    return
        except OSError as error:
            print(error, file=sys.stderr)
        time.sleep(retry)
