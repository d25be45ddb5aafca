"""Golden records: what today's code computes and reports, kept to the last bit, so that a change of numbers shows.

    sweeps/*.yaml     what is run: every method, loss, mask, detector, ensemble, matching network, as small as it goes
    records/*.json    what came out: every column but `sys/`, digests of weights and files, a search's asks and tells
    reports/          a report in every format, and what the command says of a store
    old_store.tar.xz  a store as an interrupted run leaves it, to be read, resumed and reported
    identities.json   the ids and configurations of the trials of every shipped study, as digests
    fingerprint.json  the library versions and the arithmetic that the records were computed with

`make golden` writes records and reports anew when a change of numbers is meant: read its diff like code. Where only the
wording of reports has changed, `make golden ARGS=--wording` writes the reports alone, and refuses if a number changed.
The old store stays as it is, but when a trial in it can no longer give the numbers of an undisturbed one, because the
numbers of its first epochs have changed: `make golden ARGS=--old-store` then makes it anew.

Everything goes through the command line, sweep files and the files of a store. What is imported from the package is in
`doors.py`.
"""
