-- schema 0004
CREATE TABLE freehold_usage_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT freehold_usage_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE requests (
	writer TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	segment BIGINT NOT NULL, 
	"offset" BIGINT NOT NULL, 
	request_id TEXT NOT NULL, 
	started_at BIGINT NOT NULL, 
	ended_at BIGINT NOT NULL, 
	organization_id TEXT NOT NULL, 
	project_id TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	deployment TEXT NOT NULL, 
	model TEXT NOT NULL, 
	route_kind TEXT NOT NULL, 
	service_tier TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	image_source TEXT NOT NULL, 
	image_size TEXT NOT NULL, 
	requests BIGINT NOT NULL, 
	model_requests BIGINT NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	cached_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	reasoning_tokens BIGINT NOT NULL, 
	images BIGINT NOT NULL, 
	cost_micro BIGINT NOT NULL, 
	duration_us BIGINT NOT NULL, 
	end_user TEXT NOT NULL, 
	route TEXT NOT NULL, 
	dialect TEXT NOT NULL, 
	status BIGINT NOT NULL, 
	attempt BIGINT NOT NULL, 
	error_code TEXT, 
	finish_reason TEXT, 
	auth_method TEXT, 
	requested TEXT, 
	spilled_from TEXT, 
	engine TEXT, 
	replica TEXT, 
	estimated BOOLEAN NOT NULL, 
	first_token_us BIGINT, 
	per_token_us BIGINT, 
	price_version TEXT, 
	excess_micro BIGINT NOT NULL, 
	replay_of TEXT, 
	CONSTRAINT pk_requests PRIMARY KEY (writer, seq)
);
CREATE UNIQUE INDEX uq_requests_request_id ON requests (request_id);
CREATE INDEX ix_requests_started_at ON requests (started_at);
CREATE INDEX ix_requests_project_id ON requests (project_id, started_at);
CREATE INDEX ix_requests_key_id ON requests (key_id, started_at);
CREATE INDEX ix_requests_end_user ON requests (end_user, started_at);
CREATE INDEX ix_requests_deployment ON requests (deployment, started_at);
CREATE INDEX ix_requests_outcome ON requests (outcome, started_at);
CREATE TABLE usage_hourly (
	started_at BIGINT NOT NULL, 
	organization_id TEXT NOT NULL, 
	project_id TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	deployment TEXT NOT NULL, 
	model TEXT NOT NULL, 
	route_kind TEXT NOT NULL, 
	service_tier TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	image_source TEXT NOT NULL, 
	image_size TEXT NOT NULL, 
	requests BIGINT NOT NULL, 
	model_requests BIGINT NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	cached_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	reasoning_tokens BIGINT NOT NULL, 
	images BIGINT NOT NULL, 
	cost_micro BIGINT NOT NULL, 
	duration_us BIGINT NOT NULL, 
	CONSTRAINT pk_usage_hourly PRIMARY KEY (started_at, organization_id, project_id, key_id, principal, deployment, model, route_kind, service_tier, outcome, image_source, image_size)
);
CREATE INDEX ix_usage_hourly_project_id ON usage_hourly (project_id, started_at);
CREATE INDEX ix_usage_hourly_deployment ON usage_hourly (deployment, started_at);
CREATE TABLE usage_daily (
	started_at BIGINT NOT NULL, 
	organization_id TEXT NOT NULL, 
	project_id TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	deployment TEXT NOT NULL, 
	model TEXT NOT NULL, 
	route_kind TEXT NOT NULL, 
	service_tier TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	image_source TEXT NOT NULL, 
	image_size TEXT NOT NULL, 
	requests BIGINT NOT NULL, 
	model_requests BIGINT NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	cached_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	reasoning_tokens BIGINT NOT NULL, 
	images BIGINT NOT NULL, 
	cost_micro BIGINT NOT NULL, 
	duration_us BIGINT NOT NULL, 
	CONSTRAINT pk_usage_daily PRIMARY KEY (started_at, organization_id, project_id, key_id, principal, deployment, model, route_kind, service_tier, outcome, image_source, image_size)
);
CREATE INDEX ix_usage_daily_project_id ON usage_daily (project_id, started_at);
CREATE INDEX ix_usage_daily_deployment ON usage_daily (deployment, started_at);
CREATE TABLE projection (
	writer TEXT NOT NULL, 
	segment BIGINT NOT NULL, 
	"offset" BIGINT NOT NULL, 
	seq BIGINT NOT NULL, 
	last_segment BIGINT NOT NULL, 
	last_offset BIGINT NOT NULL, 
	head TEXT NOT NULL, 
	PRIMARY KEY (writer)
);
CREATE TABLE admin_actions (
	writer TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	segment BIGINT NOT NULL, 
	"offset" BIGINT NOT NULL, 
	recorded_at BIGINT NOT NULL, 
	organization_id TEXT NOT NULL, 
	project_id TEXT NOT NULL, 
	event TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	resource_id TEXT NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_admin_actions PRIMARY KEY (writer, seq)
);
CREATE INDEX ix_admin_actions_organization_id ON admin_actions (organization_id, recorded_at);
CREATE TABLE filter_flags (
	writer TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	side TEXT NOT NULL, 
	name TEXT NOT NULL, 
	severity BIGINT NOT NULL, 
	blocked BIGINT NOT NULL, 
	request_id TEXT NOT NULL, 
	started_at BIGINT NOT NULL, 
	organization_id TEXT NOT NULL, 
	project_id TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	end_user TEXT NOT NULL, 
	deployment TEXT NOT NULL, 
	CONSTRAINT pk_filter_flags PRIMARY KEY (writer, seq, side, name)
);
CREATE INDEX ix_filter_flags_organization_id ON filter_flags (organization_id, started_at);
CREATE INDEX ix_filter_flags_project_id ON filter_flags (project_id, started_at);
CREATE INDEX ix_filter_flags_principal ON filter_flags (principal, started_at);
CREATE INDEX ix_filter_flags_end_user ON filter_flags (end_user, started_at);
CREATE TABLE training_stretches (
	writer TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	segment BIGINT NOT NULL, 
	"offset" BIGINT NOT NULL, 
	stretch_id TEXT NOT NULL, 
	training TEXT NOT NULL, 
	started_at BIGINT NOT NULL, 
	ended_at BIGINT NOT NULL, 
	organization_id TEXT NOT NULL, 
	project_id TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	device_kind TEXT NOT NULL, 
	processes BIGINT NOT NULL, 
	devices BIGINT NOT NULL, 
	core_milli BIGINT NOT NULL, 
	memory_bytes BIGINT NOT NULL, 
	step_from BIGINT NOT NULL, 
	step_to BIGINT NOT NULL, 
	duration_us BIGINT NOT NULL, 
	device_us BIGINT NOT NULL, 
	core_us BIGINT NOT NULL, 
	tokens BIGINT NOT NULL, 
	cost_micro BIGINT NOT NULL, 
	CONSTRAINT pk_training_stretches PRIMARY KEY (writer, seq)
);
CREATE UNIQUE INDEX uq_training_stretches_stretch_id ON training_stretches (stretch_id);
CREATE INDEX ix_training_stretches_started_at ON training_stretches (started_at)
