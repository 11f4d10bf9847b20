"""A foreign Modbus server whose registers show what `pattern.rs` expects of them.

Register a shows a number made of a and of the generation, which is written to register 1000; 0 and 1 hold the generation and its
complement. Registers 1001 and 1002 may be written and keep what was written. Prints its port, and ends with its standard input.
"""

import asyncio
import sys

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

GENERATION, KEPT, END = 1000, (1001, 1003), 1100
generation = 0


def word(register):
    if register < 2:
        return generation if register == 0 else generation ^ 0xFFFF
    return (((register + 1) * 40503) ^ (generation * 30011 + register)) & 0xFFFF


async def touched(_function, start, address, count, registers, values):
    global generation
    if values is None:
        for register in range(address, address + count):
            if register < GENERATION:
                registers[register - start] = word(register)
        return None
    if address == GENERATION and count == 1:
        generation = values[0]
        return None
    return None if KEPT[0] <= address and address + count <= KEPT[1] else ExcCodes.ILLEGAL_ADDRESS


async def main():
    memory = [SimData(0, values=[0] * END, datatype=DataType.REGISTERS)]
    device = SimDevice(1, simdata=memory, action=touched)
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(main())
