"""Just enough HTTP/2 to open gRPC calls and leave them."""

SETTINGS, HEADERS, DATA = 4, 1, 0
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, body):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b"")


def headers(stream, path, fields=None):
    """The HEADERS frame of a call of `path`, literal fields after two of the static table."""

    def text(value):
        return bytes([len(value)]) + value.encode()

    fields = {"content-type": "application/grpc", "te": "trailers", **(fields or {})}
    block = b"\x83\x86\x04" + text(path) + b"\x01" + text("localhost")
    for name, value in fields.items():
        block += b"\0" + text(name) + text(value)
    return frame(HEADERS, END_HEADERS, stream, block)


def data(stream, body, end=False):
    return frame(DATA, END_STREAM if end else 0, stream, body)
