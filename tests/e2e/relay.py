"""Carry connections between a port and a socket file: files are seen from every namespace.

python relay.py port N file PATH: what connects to port N is carried to the file; or the other way.
"""

import asyncio
import sys

_BLOCK = 65536


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def _relay(listen: tuple[str, str], to: tuple[str, str]) -> None:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transport, place = to
        if transport == "port":
            far = await asyncio.open_connection("127.0.0.1", int(place))
        else:
            far = await asyncio.open_unix_connection(place)
        await asyncio.gather(_copy(reader, far[1]), _copy(far[0], writer))
        for end in (writer, far[1]):
            end.close()

    transport, place = listen
    if transport == "port":
        server = await asyncio.start_server(carry, "127.0.0.1", int(place))
    else:
        server = await asyncio.start_unix_server(carry, place)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_relay((sys.argv[1], sys.argv[2]), (sys.argv[3], sys.argv[4])))
