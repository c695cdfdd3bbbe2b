"""Which process runs which tests, where one of them dies."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadFileScheduling


class WholeFiles(LoadFileScheduling):
    """Whole files to each process.

    pytest-xdist 3.8 gives what a dead process had done to the others once more, as work in which there is nothing to
    do, and a new process one test to wait with for a second: the run never ends (its issues 1323 and 1327). It also
    runs the test again that the process died of, which has failed already.
    """

    def remove_node(self, node: Any) -> str | None:
        work = self.assigned_work.pop(node)
        crashed = next((test for unit in work.values() for test, done in unit.items() if not done), None)
        if crashed is not None:
            work[self._split_scope(crashed)][crashed] = True
            self.workqueue.update({file: unit for file, unit in work.items() if not all(unit.values())})
            for other in self.assigned_work:
                if other in self.registered_collections:
                    self._reschedule(other)
        return crashed

    def _reschedule(self, node: Any) -> None:
        super()._reschedule(node)
        while not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)
