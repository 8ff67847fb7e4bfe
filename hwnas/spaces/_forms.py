"""Settings of which a named form fills in what is not given."""

from typing import Any, ClassVar

from pydantic import model_validator

from hwnas.core.config import Settings


class FormedSettings(Settings):
    FORMS: ClassVar[dict[str, dict[str, Any]]] = {"small": {}}

    form: str = "small"
    """Fills in what is not given. Small: for a search of minutes on two cores."""

    @model_validator(mode="before")
    @classmethod
    def _formed(cls, values: dict[str, Any]) -> dict[str, Any]:
        form = values.get("form", "small")
        if form not in [*cls.FORMS]:  # also what cannot be hashed
            raise ValueError(f"form is one of {', '.join(cls.FORMS)}")
        return {**cls.FORMS[form], **values}
