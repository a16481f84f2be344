"""What runs inside the sandbox: `app.py` becomes, with `keephold.contract`, the Python guest. Not imported outside."""
