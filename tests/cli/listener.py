"""A listener in place of a VM's sshd."""

import socket
import threading


class Listener:
    """Takes connections on a port of this machine, keeps the first line, and answers."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection, connection.makefile("rwb") as stream:
                line = stream.readline()
                if line == b"stop\n":
                    return
                if line:
                    self.lines.append(line)
                # ssh waits for a greeting; it gets none.
                if line and not line.startswith(b"SSH-"):
                    stream.write(b"seen\n" + stream.read())
                    stream.flush()

    def close(self) -> None:
        """Stop listening."""
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"stop\n")
        self._thread.join()
        self._socket.close()
