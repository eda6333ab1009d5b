def records(
    data: bytes,
    offset: int,
    fields: tuple[tuple[bytes, int, int, int], ...],
    columns: tuple[tuple[int, object, object, object], ...],
    rows: int,
    room: int,
    strict: bool,
) -> tuple[int, int, int]: ...
