"""Signed updates: what gateways and servers believe, and who may say it. python-tuf underneath, nowhere else.

    client      what a placement trusts: metadata verified and kept durably, files checked by digest
    updater     python-tuf's own client with our clock, store and errors
    layout      names of files and roles, as written and as read
    errors      what can go wrong, by who must act
    repository  the verified read side of whoever publishes
    publisher   files and metadata, written in an order that leaves a valid repository at every moment
    keys        the signing keys of the roles, in files that nobody else may read

Why so: a package, so that the words and types of TUF stay behind one door; placements import `client` alone and never
load what signs.
"""
