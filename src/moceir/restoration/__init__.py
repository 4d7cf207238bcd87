"""The one path of a picture: options and a picture in, the restored picture and what was decided out."""

from moceir.restoration.options import RestoreOptions
from moceir.restoration.restorer import Restorer
from moceir.restoration.result import RestorationResult

__all__ = ["RestorationResult", "RestoreOptions", "Restorer"]
