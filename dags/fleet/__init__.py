"""The Fleet page: a page in Airflow that shows what gateways run, and steers rollouts.

Floor plan::

    plugin      what Airflow registers: the page in its navigation, and the application behind it, loaded when called
    app         the routes
    access      who may read, who may write, and that a write was meant
    control     what the buttons write into MLflow: the desired state that a person could write by hand
    waking      has the DAG release look now, as the user
    hook        MLflow's webhook: a signed hint that wakes the DAG release, and no more
    source      the store of this Airflow, and one view of it for all who look
    pages       HTML from templates; also for `tidemill fleet --html`
    exports     JSON and CSV
    templates/  the HTML, the style, and a few lines of script that the page works without

Why so:
    * *Server-rendered HTML*, not an application in the browser: the list is filtered and counted where the data is, the
      page works without scripts, and there is nothing to build. Cost: each refresh brings the whole page.
    * *The routes check Airflow's login themselves*: Airflow mounts applications of plugins without any. A login of
      Airflow is a cookie that browsers also send along from other ports of the same host (MLflow shows pages of other
      people there), so a write must come from this very origin.
    * *The buttons write what is desired, and nothing else*: the release run refuses, publishes, holds and aborts, as if
      somebody had set the tags in MLflow.
"""
