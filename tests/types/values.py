"""The whole table of types, as strategies with their edges and their oracle."""

from tests.types.documents import DOCUMENTS
from tests.types.kinds import Kind
from tests.types.moments import MOMENTS
from tests.types.nested import NESTED
from tests.types.numbers import NUMBERS
from tests.types.printed import PRINTED_KINDS
from tests.types.texts import TEXTS

KINDS: tuple[Kind, ...] = (
    *NUMBERS,
    *MOMENTS,
    *TEXTS,
    *DOCUMENTS,
    *NESTED,
    *PRINTED_KINDS,
)
