"""Procedural rooms with exact depth and cameras: endless multi-view data without a download.

`make_room` draws a room, `camera_path` walks a camera through it, `render` takes a picture: pure functions, the first two
of the state of the generator they are given. World frame: z up, floor at z = 0, metres; cameras as in
`muskie.data.scene.Camera`.
"""

from muskie.data.rooms.layout import Room, make_room
from muskie.data.rooms.paths import camera_path
from muskie.data.rooms.rendering import render

__all__ = ["Room", "camera_path", "make_room", "render"]
