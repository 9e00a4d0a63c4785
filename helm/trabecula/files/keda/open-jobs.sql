SELECT count(*) FROM procrastinate_jobs
WHERE queue_name = 'screening'
  AND (status = 'doing' OR status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()))
