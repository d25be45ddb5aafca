"""An Optuna study in memory that is kept between the suggestions of a search. Does not use the store."""

from __future__ import annotations

from typing import Any

from sweeps.search.history import History, Json


class LiveStudy:
    """An Optuna study that follows a history of suggestions and outcomes.

    Building a study takes 0.1 ms for each suggestion, which after some hundred is longer than the sampler takes. So one
    study is kept: it has the suggestions that were drawn in it, and new suggestions and outcomes are added. It is built
    again if it differs from the history: another driver has stored a suggestion in place of the one that was drawn
    here, a draw was rejected, or an outcome was deleted.
    """

    def __init__(self) -> None:
        self._study: Any = None
        self.space: Any = None
        """Optuna's `IntersectionSearchSpace` of the study: the keys that all of its suggestions have."""
        self._asks = 0
        """The number of suggestions that were compared with the history."""
        self._tells: dict[int, Json] = {}

    def catch_up(self, history: History) -> Any:
        """The study with all suggestions and outcomes of a history. What is drawn in it next becomes part of it."""
        if self._study is None or not self._agrees(history):
            from sweeps.search import joint_tpe

            self._study, self.space = history.study(), joint_tpe.new_space()
        else:
            trials = self._trials()
            for number in range(len(trials), len(history.asks)):
                history.add_to(self._study, number)
            for number in history.tells.keys() - self._tells.keys():
                if number < len(trials):  # the others were added with their outcomes
                    self._finish(trials[number], history.trial(number))
        self._asks, self._tells = len(history.asks), dict(history.tells)
        return self._study

    def _trials(self) -> list[Any]:
        trials: list[Any] = self._study.get_trials(deepcopy=False)
        return trials

    def _agrees(self, history: History) -> bool:
        """Whether the history has all that the study has."""
        trials = self._trials()
        if len(trials) > len(history.asks) or any(history.tells.get(n) is not tell for n, tell in self._tells.items()):
            return False
        attrs = self._study._storage.get_study_system_attrs(self._study._study_id)
        return all(
            trial.params == ask["params"]
            and trial.system_attrs.items() <= ask["trial_attrs"].items()
            and all(key in attrs and attrs[key] == value for key, value in ask["study_attrs"].items())
            for trial, ask in zip(trials[self._asks :], history.asks[self._asks :], strict=False)
        )

    def _finish(self, trial: Any, known: Any) -> None:
        """Give a suggestion of the study its outcome. known: the suggestion with its outcome."""
        storage = self._study._storage
        for key, value in known.system_attrs.items():
            storage.set_trial_system_attr(trial._trial_id, key, value)
        for epoch, value in known.intermediate_values.items():
            storage.set_trial_intermediate_value(trial._trial_id, epoch, value)
        storage.set_trial_state_values(trial._trial_id, known.state, known.values)
