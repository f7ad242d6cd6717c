"""Device memory of another process, by CUDA's driver interface and nothing else."""

import base64
import ctypes
import json
import subprocess
import sys

from report import Wrong

HANDLE_BYTES = 64


class OtherProcess:
    """Holds device memory with numbers at its beginning until it is left."""

    def __init__(self, rig, numbers):
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(rig.device), json.dumps(numbers)],
            env=rig.environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self):
        line = self.process.stdout.readline()
        if not line:
            raise Wrong("the other process could not take device memory")
        told = json.loads(line)
        self.handle, self.byte_size = told["handle"], told["byte_size"]
        return self

    def read(self, offset, count):
        """Numbers from its memory."""
        self.process.stdin.write(f"{offset} {count}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class Driver:
    """CUDA's driver; every call must succeed."""

    def __init__(self, ordinal):
        self.library = ctypes.CDLL("libcuda.so.1")
        self.call("cuInit", 0)
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), ordinal)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)

    def call(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code != 0:
            raise SystemExit(f"{name} answered {code}")

    def take(self, byte_size):
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(byte_size))
        return address.value

    def write(self, address, numbers):
        source = (ctypes.c_int32 * len(numbers))(*numbers)
        size = ctypes.c_size_t(ctypes.sizeof(source))
        self.call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), source, size)

    def read(self, address, count):
        target = (ctypes.c_int32 * count)()
        size = ctypes.c_size_t(ctypes.sizeof(target))
        self.call("cuMemcpyDtoH_v2", target, ctypes.c_uint64(address), size)
        return list(target)

    def share(self, address):
        handle = (ctypes.c_uint8 * HANDLE_BYTES)()
        self.call("cuIpcGetMemHandle", handle, ctypes.c_uint64(address))
        return base64.b64encode(bytes(handle)).decode()


def main(ordinal, numbers, byte_size=1 << 21):
    driver = Driver(int(ordinal))
    address = driver.take(byte_size)
    driver.write(address, json.loads(numbers))
    print(json.dumps({"handle": driver.share(address), "byte_size": byte_size}), flush=True)
    for line in sys.stdin:
        offset, count = map(int, line.split())
        print(json.dumps(driver.read(address + offset, count)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
