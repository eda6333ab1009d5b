"""Objects in S3, or in anything that speaks its API, and notices of new ones; the one package that imports boto3.

Endpoint, region and credentials come from boto3's own chain (``AWS_*``, profiles, instance roles), never from the URI.

    connection.py  a client of a service, and its errors in our words
    bulk.py        reading and listing much, at a tenth of the cost
    etags.py       what an ETag says about the bytes of its object
    store.py       a bucket as a store
    queue.py       messages about new objects from an SQS queue
"""

from serving.s3.store import S3Store

__all__ = ["S3Store"]
