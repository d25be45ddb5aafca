"""Soon."""


def show() -> None:
    pass
