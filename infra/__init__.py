"""The deployment as a CDK v2 app: `app.py` for the cdk command, `synth.py` without it, `stack.py` for your own apps.

It holds no definition of a resource: what is deployed is what `llmdeploy template` prints.
"""
