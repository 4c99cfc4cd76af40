"""Puts things in the way of a suite."""

import socket
from pathlib import Path

from robot.libraries.BuiltIn import BuiltIn


class Obstacles:
    ROBOT_LIBRARY_SCOPE = "GLOBAL"

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def occupy_a_port(self) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        self.sockets.append(listener)
        port: int = listener.getsockname()[1]
        return port

    def empty_the_logs_of(self, service: str) -> None:
        output = Path(str(BuiltIn().get_variable_value("${OUTPUT DIR}")))
        for log in output.rglob(f"{service}-*.log"):
            log.write_text("")
