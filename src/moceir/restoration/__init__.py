"""The one path of a picture: options and a picture in, the restored picture and what was decided out."""

from moceir.restoration.restorer import Restorer

__all__ = ["Restorer"]
