"""What hostile clients do, each as one coroutine that runs until it is cancelled and counts what came
of it. Bounded in connections and in rate, so that the attackers and not the machine are measured."""

import asyncio
import collections
import os
import random
import socket
import zlib

import http2

INFER = "/v2/models/echo/infer"
GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"
TWO_GIGABYTES = 2**31 - 1


class Attack:
    """One attack on a server's ports; `counts` says what it came to."""

    def __init__(self, ports):
        self.ports = ports
        self.counts = collections.Counter()

    def prepare(self):
        """What has to be there before anything is measured."""

    async def run(self):
        raise NotImplementedError

    async def open(self, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[port])
        self.counts["connections"] += 1
        return reader, writer

    async def answered(self, reader):
        """Counts the status of an HTTP answer, or that the connection ended."""
        line = await reader.readline()
        status = line.split(b" ")[1].decode() if line.startswith(b"HTTP/1.") else "closed"
        self.counts[f"answer {status}"] += 1

    async def guarded(self, once, pause=0.0):
        """Does `once` again and again; that the server closes a connection is no failure."""
        while True:
            try:
                await once()
            except (OSError, asyncio.IncompleteReadError):
                self.counts["closed by the server"] += 1
            await asyncio.sleep(pause)


async def together(coroutines):
    """Runs all until one fails or all are cancelled."""
    async with asyncio.TaskGroup() as group:
        for coroutine in coroutines:
            group.create_task(coroutine)


class SlowLoris(Attack):
    """Header fields that arrive a byte a second."""

    async def once(self):
        _, writer = await self.open("http")
        try:
            for byte in b"GET /v2/health/live HTTP/1.1\r\nHost: d\r\nX: " + b"x" * 10_000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(1)
        finally:
            writer.close()

    async def run(self):
        await together(self.guarded(self.once, 0.1) for _ in range(300))


class ShortBody(Attack):
    """Two gigabytes announced, or as much as one request may have; ten bytes sent, and then nothing."""

    async def once(self):
        reader, writer = await self.open("http")
        try:
            length = random.choice([TWO_GIGABYTES, 200 << 20])
            head = f"POST {INFER} HTTP/1.1\r\nHost: d\r\nContent-Length: {length}\r\n\r\n"
            writer.write(head.encode() + b"0123456789")
            await self.answered(reader)
        finally:
            writer.close()

    async def run(self):
        await together(self.guarded(self.once, 0.5) for _ in range(200))


class IdleConnections(Attack):
    """Ten thousand connections that say nothing; those that are closed are opened again."""

    def __init__(self, ports, count):
        super().__init__(ports)
        self.count = count
        self.idle = []

    def prepare(self):
        for _ in range(100):
            self.replenish(self.count)

    def replenish(self, most):
        self.idle = [each for each in self.idle if not self.is_closed(each)]
        for _ in range(min(most, self.count - len(self.idle))):
            try:
                address = ("127.0.0.1", self.ports["http"])
                connection = socket.create_connection(address, timeout=1)
            except OSError:
                self.counts["refused"] += 1
                break
            connection.setblocking(False)
            self.counts["connections"] += 1
            self.idle.append(connection)
        self.counts["most at once"] = max(self.counts["most at once"], len(self.idle))

    async def run(self):
        try:
            while True:
                self.replenish(100)
                await asyncio.sleep(1)
        finally:
            for connection in self.idle:
                connection.close()

    @staticmethod
    def is_closed(connection):
        try:
            return connection.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


class HalfOpenStreams(Attack):
    """gRPC calls whose message claims two gigabytes and never comes, a hundred on a connection."""

    async def once(self):
        reader, writer = await self.open("grpc")
        try:
            writer.write(http2.PREFACE)
            prefix = b"\0" + TWO_GIGABYTES.to_bytes(4, "big") + b"0123456789"
            for stream in range(1, 200, 2):
                writer.write(http2.headers(stream, GRPC_INFER) + http2.data(stream, prefix))
                self.counts["streams"] += 1
            await writer.drain()
            while await reader.read(65536):
                pass
        finally:
            writer.close()

    async def run(self):
        await together(self.guarded(self.once, 0.5) for _ in range(20))


class Bombs(Attack):
    """Bodies and messages of a megabyte that would become a gigabyte."""

    def __init__(self, ports):
        super().__init__(ports)
        zeros = bytes(1 << 20)
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        self.gzip = b"".join(packer.compress(zeros) for _ in range(1024)) + packer.flush()
        packer = zlib.compressobj(9)
        self.deflate = b"".join(packer.compress(zeros) for _ in range(1024)) + packer.flush()

    async def over_http(self):
        encoding, body = random.choice([("gzip", self.gzip), ("deflate", self.deflate)])
        reader, writer = await self.open("http")
        try:
            writer.write(
                f"POST {INFER} HTTP/1.1\r\nHost: d\r\nContent-Encoding: {encoding}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
            )
            writer.write(body)
            await writer.drain()
            await self.answered(reader)
        finally:
            writer.close()

    async def over_grpc(self):
        reader, writer = await self.open("grpc")
        try:
            message = b"\1" + len(self.gzip).to_bytes(4, "big") + self.gzip
            writer.write(http2.PREFACE + http2.headers(1, GRPC_INFER, {"grpc-encoding": "gzip"}))
            for start in range(0, len(message), 16384):
                piece = message[start : start + 16384]
                writer.write(http2.data(1, piece, end=start + 16384 >= len(message)))
            await writer.drain()
            await asyncio.wait_for(reader.read(65536), 5)
            self.counts["gRPC messages"] += 1
        except TimeoutError:
            self.counts["gRPC without an answer"] += 1
        finally:
            writer.close()

    async def run(self):
        await together([self.guarded(self.over_http, 0.5), self.guarded(self.over_grpc, 0.5)])


class TinyChunks(Attack):
    """A body in pieces of one byte."""

    async def once(self):
        reader, writer = await self.open("http")
        try:
            head = f"POST {INFER} HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(head.encode())
            for _ in range(100):
                writer.write(b"1\r\n \r\n" * 1000)
                await writer.drain()
            await self.answered(reader)
        finally:
            writer.close()

    async def run(self):
        await together(self.guarded(self.once, 1) for _ in range(2))


class DeepJson(Attack):
    """Brackets without end."""

    async def once(self):
        reader, writer = await self.open("http")
        try:
            body = b'{"inputs":' + b"[" * 100_000
            head = f"POST {INFER} HTTP/1.1\r\nHost: d\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            await self.answered(reader)
        finally:
            writer.close()

    async def run(self):
        await together(self.guarded(self.once, 0.2) for _ in range(2))


class UnreadAnswers(Attack):
    """Clients that ask for large answers and do not read them."""

    async def once(self):
        size = 8 << 20
        inputs = (
            '{"parameters":{"binary_data_output":true},"inputs":[{"name":"INPUT0","shape":[%d],'
            '"datatype":"UINT8","parameters":{"binary_data_size":%d}}]}' % (size, size)
        ).encode()
        _, writer = await self.open("http")
        try:
            writer.write(
                f"POST {INFER} HTTP/1.1\r\nHost: d\r\nInference-Header-Content-Length: "
                f"{len(inputs)}\r\nContent-Length: {len(inputs) + size}\r\n\r\n".encode()
            )
            writer.write(inputs + bytes(size))
            await writer.drain()
            self.counts["requests"] += 1
            await asyncio.sleep(10)
        finally:
            writer.close()

    async def run(self):
        await together(self.guarded(self.once, 1) for _ in range(40))


class RandomBytes(Attack):
    """Noise on each port, plain and after something that begins well."""

    BEGINNINGS = [b"", b"POST " + INFER.encode() + b" HTTP/1.1\r\n", http2.PREFACE, b"\x16\x03\x01"]

    async def once(self, port):
        _, writer = await self.open(port)
        try:
            noise = os.urandom(random.randint(1, 4096))
            writer.write(random.choice(self.BEGINNINGS) + noise)
            await writer.drain()
        finally:
            writer.close()

    async def run(self):
        await together(
            self.guarded(lambda port=port: self.once(port), 0.02) for port in self.ports
        )


def all_attacks(ports, idle_count):
    return [
        SlowLoris(ports),
        ShortBody(ports),
        IdleConnections(ports, idle_count),
        HalfOpenStreams(ports),
        Bombs(ports),
        TinyChunks(ports),
        DeepJson(ports),
        UnreadAnswers(ports),
        RandomBytes(ports),
    ]
