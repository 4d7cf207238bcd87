"""The machine underneath: devices, memory, the allocator."""
