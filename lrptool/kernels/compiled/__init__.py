"""The kernels themselves, as numba compiles them; imported only where there is no machine code of them yet.

Whatever else kernels need, from the plan of a layer to the choice of a tile, is in the room around this one, and is
imported without numba.
"""
