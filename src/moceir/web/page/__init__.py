"""The page of ``moceir serve``: pictures come in, are compared before and after, and go out as files."""

from moceir.web.page.mounting import mount_page

__all__ = ["mount_page"]
