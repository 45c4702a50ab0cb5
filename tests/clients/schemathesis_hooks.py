"""What Schemathesis does not know: a body in protobuf is bytes."""

import schemathesis

schemathesis.serializer.alias("application/x-protobuf", "application/octet-stream")
