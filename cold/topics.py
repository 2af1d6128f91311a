"""The topics of the configuration: single numbers, and groups of which each identity subscribes to some."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from bridge.section import Section

#: Topics of an experiment.
MOST_TOPICS: Final = 1024
TopicNumber = Annotated[int, Field(ge=0, le=65535)]


class TopicGroup(Section):
    """`cold.topics[i]` as a mapping: `count` topics, numbered from `first` on, under one name.

    Each identity subscribes to `per_identity` of them, or to each with the probability `share`; to all by default.
    """

    name: str = Field(min_length=1, max_length=64)
    first: TopicNumber
    count: int = Field(ge=1, le=MOST_TOPICS)
    per_identity: int | None = Field(default=None, ge=1)
    share: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.first + self.count > 65536:
            raise PydanticCustomError("topics", "the last topic would be number {last}", {"last": self.last})
        if self.per_identity is not None and self.share is not None:
            raise PydanticCustomError("topics", "give per_identity or share, not both")
        if self.per_identity is not None and self.per_identity > self.count:
            raise PydanticCustomError("topics", "per_identity must not be more than count")
        return self

    @property
    def last(self) -> int:
        """Return the number of the last topic."""
        return self.first + self.count - 1

    @property
    def mean_subscriptions(self) -> float:
        """Return how many of the topics an identity has in the mean."""
        return self.per_identity if self.per_identity is not None else self.count * (self.share or 1.0)

    @property
    def is_partial(self) -> bool:
        """Return whether an identity may lack one of the topics."""
        return self.share not in (None, 1.0) or self.per_identity not in (None, self.count)


def _written_as(value: Any) -> str:
    return "group" if isinstance(value, dict | TopicGroup) else "number"


Topic = Annotated[
    Annotated[TopicNumber, Tag("number")] | Annotated[TopicGroup, Tag("group")], Discriminator(_written_as)
]


def topic_numbers(topics: list[Topic]) -> list[int]:
    """Return the number of every topic; its place in the list is the index that everything else names it by."""
    numbers: list[int] = []
    for topic in topics:
        numbers.extend(range(topic.first, topic.last + 1) if isinstance(topic, TopicGroup) else [topic])
    return numbers


def check_topics(topics: list[Topic]) -> None:
    """Raise what is wrong with a list of topics that are right one by one."""
    numbers = topic_numbers(topics)
    if len(numbers) > MOST_TOPICS:
        raise PydanticCustomError(
            "topics", "{count} topics are more than {most}", {"count": len(numbers), "most": MOST_TOPICS}
        )
    if len(set(numbers)) != len(numbers):
        raise PydanticCustomError("topics", "a topic is listed twice")
    names = [topic.name for topic in topics if isinstance(topic, TopicGroup)]
    if len(set(names)) != len(names):
        raise PydanticCustomError("topics", "two groups have one name")


def indices_of(topics: list[Topic], wanted: int | str) -> range | None:
    """Return the indices of the topics of a group by its name, or of the one with this number; None if unknown."""
    index = 0
    for topic in topics:
        if isinstance(topic, TopicGroup):
            if topic.name == wanted:
                return range(index, index + topic.count)
            if isinstance(wanted, int) and topic.first <= wanted <= topic.last:
                return range(index + wanted - topic.first, index + wanted - topic.first + 1)
            index += topic.count
        else:
            if topic == wanted:
                return range(index, index + 1)
            index += 1
    return None
