"""``ngpd-fl run``: training of one network, with its records."""

from __future__ import annotations

from ngpd_fl.cli import flags
from ngpd_fl.cli.show import print_run
from ngpd_fl.cli.train import train
from ngpd_fl.cli.watch import watched


@flags.with_config_flags()
def run(
    given: flags.ConfigFlags,
    out: flags.Out = None,
    track: flags.Track = None,
    checkpoint_every: flags.CheckpointEvery = None,
    event_log: flags.EventLog = False,
    watch: flags.Watch = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train a network of nodes and record it.

    A folder of records holds the whole configuration, every evaluation, the final models and pictures.
    """
    from ngpd_fl.records.new_folder import new_folder

    settings, trackers = given.load(), flags.tracker_names(track)
    with new_folder(out, f"{settings.data.dataset}-{settings.strategy.name}") as folder:
        try:
            with watched(folder, watch, quiet):
                train(
                    settings,
                    folder,
                    quiet,
                    track=trackers,
                    checkpoint_every=checkpoint_every,
                    event_log=event_log,
                )
        finally:  # also of a run that did not come to its end
            if not quiet and folder.is_dir() and any(folder.iterdir()):
                print_run(folder)
