"""The demo: the whole main job on one machine, each step a real part, run through the DAGs by Airflow.

`scenario` is the story, `journal` remembers finished steps so that a killed demo goes on, `load` asks the cloud server
all the while, `replay` feeds gateways, `skew` compares what they computed with the batch job, and `page` draws
``build/demo/report.html``.
"""
