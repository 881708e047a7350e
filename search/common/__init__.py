"""Error messages, exceptions, durations and disk faults, for all folders of `search`.

Imports `stockrnn.io` and no other folder of `search`.
"""
