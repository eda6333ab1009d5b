"""From a bundle to a running prediction. Knows no MLflow, no Airflow and no lake.

The shortest way through the house: a bundle from its bytes, and a score from a row.

>>> from serving.bundle import unpack
>>> from serving.predictor import Predictor
>>> def score(data: bytes, digest: str, row: list[float]) -> float:
...     predictor = Predictor(unpack(data, digest))
...     predictor.check_golden()
...     return float(predictor.predict([row]).score[0])

Floor plan, from the ground up:

======================================  ===============================================================================
``errors`` ``settings``                 what can go wrong (TM-2xx); names, defaults and meanings of settings
``store`` ``s3`` ``web`` ``probe``      object storage behind one port; whether a store keeps its promise to ledgers
``bundle`` ``manifest``                 the one file that holds everything a placement needs
``operators`` ``predictor``             what a model may use; the one module that runs one
``prediction`` ``record``               an answer as a record, and the spool that brings records to the store
``alert`` ``journal`` ``exposition``    alerts from scores; what a program says about itself, to people and Prometheus
``trust``                               signed updates: client, keys, repository, publisher
``approval`` ``policy`` ``release``     gate records, wishes; how releases spread; releases as placements see them
``promotion`` ``seal`` ``audit``        the promotion ledger: chained, signed, and held against what is published
``consent`` ``asking``                  what people were asked, and what they answered
``retraining``                          decisions whether to train anew, in their order, and the trainings that followed
``reports`` ``rollout`` ``status``      what gateways say they run, how far a release has come, what a run found
``decision`` ``step`` ``books``         what to do about an alias, doing it, and writing it down
``reconcile`` ``ports``                 all use cases one after the other; what that needs of registry and repository
``fleet`` ``muster`` ``roster``         what gateways report, counted, beside what is wanted and released: for pages
``attention`` ``evidence`` ``words``    what needs somebody, and what monitoring found; counts and ages in words
``gateway`` ``cloud``                   a room per placement, independent of each other
``endpoint`` ``hub``                    rooms kept for two more placements
======================================  ===============================================================================

Why so:

- **Whoever must stay thin owns the format.** A gateway installs numpy, ONNX Runtime, TUF and an MQTT client, so bundle,
  prediction and store live here and the pipelines import them from here. Cost: adapters (``s3``, ``web``) load by
  scheme.
- **One predictor.** Training judges a candidate through the very code that will serve it. Cost: the pipelines depend on
  this package.
- **A bundle is the bytes, not the content.** One digest over the whole file is what is judged, promoted, signed and
  named in every prediction. Cost: writing must be deterministic, and reading refuses any other archive of the same
  content.
- **Refuse early, in words.** Models, keys, settings and addresses are checked before anything acts on them, and each
  refusal has a class, a code and a sentence of its own. Cost: more classes than a program of this size usually has.
"""
