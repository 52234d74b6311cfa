"""What Alembic runs: apply the revisions on the connection that `freehold.store.migrate` hands over."""

from alembic import context

from freehold.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
