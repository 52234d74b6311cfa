-- schema 0026
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE api_keys (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	digest BLOB NOT NULL, 
	last4 VARCHAR(4) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	created_at INTEGER NOT NULL, 
	revoked_at INTEGER, owner_id VARCHAR(64) DEFAULT '' NOT NULL, scope JSON DEFAULT '{}' NOT NULL, expires_at INTEGER, last_used_at INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (digest)
);
CREATE TABLE deployments (
	name VARCHAR(64) NOT NULL, 
	origin VARCHAR(16) NOT NULL, 
	settings JSON NOT NULL, 
	created_at INTEGER NOT NULL, 
	updated_at INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE models (
	name VARCHAR(64) NOT NULL, 
	source VARCHAR(2048) NOT NULL, 
	source_sha256 VARCHAR(64) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	format VARCHAR(16) NOT NULL, 
	details JSON NOT NULL, 
	created_at INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE home (
	name VARCHAR(64) NOT NULL, 
	value JSON NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE limits (
	scope VARCHAR(16) NOT NULL, 
	id VARCHAR(256) NOT NULL, 
	settings JSON NOT NULL, 
	created_at INTEGER NOT NULL, 
	updated_at INTEGER NOT NULL, 
	PRIMARY KEY (scope, id)
);
CREATE TABLE organizations (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	created_at INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE projects (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	created_at INTEGER NOT NULL, 
	archived_at INTEGER, 
	PRIMARY KEY (id)
);
CREATE TABLE members (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	project_id VARCHAR(64), 
	name VARCHAR(256) NOT NULL, 
	email VARCHAR(320), 
	created_at INTEGER NOT NULL, 
	disabled_at INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (email)
);
CREATE TABLE role_assignments (
	member_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	role VARCHAR(64) NOT NULL, 
	source VARCHAR(128) NOT NULL, 
	created_at INTEGER NOT NULL, 
	PRIMARY KEY (member_id, project_id, role, source)
);
CREATE TABLE invites (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	email VARCHAR(320) NOT NULL, 
	role VARCHAR(64) NOT NULL, 
	projects JSON NOT NULL, 
	token_digest BLOB NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	accepted_at INTEGER, 
	PRIMARY KEY (id)
);
CREATE TABLE sessions (
	digest BLOB NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	member_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64), 
	method VARCHAR(64) NOT NULL, 
	user_agent VARCHAR(200) NOT NULL, 
	created_at INTEGER NOT NULL, 
	seen_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (digest), 
	UNIQUE (id)
);
CREATE INDEX ix_sessions_member_id ON sessions (member_id);
CREATE TABLE passwords (
	member_id VARCHAR(64) NOT NULL, 
	hash VARCHAR(255) NOT NULL, 
	changed_at INTEGER NOT NULL, 
	PRIMARY KEY (member_id)
);
CREATE TABLE identities (
	issuer VARCHAR(512) NOT NULL, 
	subject VARCHAR(255) NOT NULL, 
	member_id VARCHAR(64) NOT NULL, 
	stated_at INTEGER NOT NULL, 
	PRIMARY KEY (issuer, subject)
);
CREATE INDEX ix_identities_member_id ON identities (member_id);
CREATE TABLE signins (
	digest BLOB NOT NULL, 
	browser_digest BLOB NOT NULL, 
	provider VARCHAR(64) NOT NULL, 
	return_to VARCHAR(2048) NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (digest)
);
CREATE INDEX ix_signins_expires_at ON signins (expires_at);
CREATE TABLE password_links (
	digest BLOB NOT NULL, 
	member_id VARCHAR(64) NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (digest)
);
CREATE INDEX ix_password_links_member_id ON password_links (member_id);
CREATE TABLE content_keys (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	master VARCHAR(256) NOT NULL, 
	wrapped BLOB NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	created_at INTEGER NOT NULL, 
	revoked_at INTEGER, 
	destroyed_at INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (organization_id, project_id, owner_id)
);
CREATE TABLE retention (
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	settings JSON NOT NULL, 
	updated_at INTEGER NOT NULL, 
	PRIMARY KEY (organization_id, project_id)
);
CREATE TABLE erasures (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	certificate JSON NOT NULL, 
	created_at INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE kept_answers (
	project_id VARCHAR(64) NOT NULL, 
	key_digest BLOB NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	body_digest BLOB NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	answer BLOB NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (project_id, key_digest)
);
CREATE INDEX ix_kept_answers_expires_at ON kept_answers (expires_at);
CREATE TABLE kept_pictures (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	media_type VARCHAR(64) NOT NULL, 
	picture BLOB NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_kept_pictures_expires_at ON kept_pictures (expires_at);
CREATE INDEX ix_kept_pictures_project_id ON kept_pictures (project_id);
CREATE TABLE policies (
	name VARCHAR(64) NOT NULL, 
	settings JSON NOT NULL, 
	created_at INTEGER NOT NULL, 
	updated_at INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE content_filters (
	name VARCHAR(64) NOT NULL, 
	settings JSON NOT NULL, 
	created_at INTEGER NOT NULL, 
	updated_at INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE blocklists (
	name VARCHAR(64) NOT NULL, 
	settings JSON NOT NULL, 
	created_at INTEGER NOT NULL, 
	updated_at INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE suspensions (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	subject_id VARCHAR(64) NOT NULL, 
	reason VARCHAR(1000) NOT NULL, 
	tell BOOLEAN NOT NULL, 
	until INTEGER, 
	created_by VARCHAR(64) NOT NULL, 
	created_at INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (organization_id, project_id, kind, subject_id)
);
CREATE TABLE kept_flagged (
	request_id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	end_user VARCHAR(64) NOT NULL, 
	deployment VARCHAR(64) NOT NULL, 
	found JSON NOT NULL, 
	content BLOB NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (request_id)
);
CREATE INDEX ix_kept_flagged_project_id ON kept_flagged (project_id);
CREATE INDEX ix_kept_flagged_expires_at ON kept_flagged (expires_at);
CREATE TABLE kept_files (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	purpose VARCHAR(32) NOT NULL, 
	ready BOOLEAN NOT NULL, 
	size BIGINT NOT NULL, 
	header BLOB NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_kept_files_project_id ON kept_files (project_id);
CREATE INDEX ix_kept_files_expires_at ON kept_files (expires_at);
CREATE TABLE kept_file_pieces (
	part_id VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	file_id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	data BLOB NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (part_id, number)
);
CREATE INDEX ix_kept_file_pieces_file_id ON kept_file_pieces (file_id);
CREATE INDEX ix_kept_file_pieces_project_id ON kept_file_pieces (project_id);
CREATE INDEX ix_kept_file_pieces_expires_at ON kept_file_pieces (expires_at);
CREATE TABLE kept_conversations (
	id VARCHAR(64) NOT NULL, 
	private BOOLEAN NOT NULL, 
	header BLOB NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, shared BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_kept_conversations_project_id ON kept_conversations (project_id, id);
CREATE INDEX ix_kept_conversations_expires_at ON kept_conversations (expires_at);
CREATE INDEX ix_kept_conversations_owner_id ON kept_conversations (project_id, owner_id, id);
CREATE TABLE kept_conversation_items (
	holder_id VARCHAR(64) NOT NULL, 
	place INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	side VARCHAR(8) NOT NULL, 
	content BLOB NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (holder_id, place), 
	CONSTRAINT uq_kept_conversation_items_holder_id UNIQUE (holder_id, id)
);
CREATE INDEX ix_kept_conversation_items_project_id ON kept_conversation_items (project_id);
CREATE INDEX ix_kept_conversation_items_expires_at ON kept_conversation_items (expires_at);
CREATE INDEX ix_kept_conversation_items_id ON kept_conversation_items (id);
CREATE TABLE kept_responses (
	id VARCHAR(64) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	background BOOLEAN NOT NULL, 
	private BOOLEAN NOT NULL, 
	header BLOB NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, gateway VARCHAR(64) DEFAULT '' NOT NULL, cancelling BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_kept_responses_project_id ON kept_responses (project_id, id);
CREATE INDEX ix_kept_responses_expires_at ON kept_responses (expires_at);
CREATE INDEX ix_kept_responses_owner_id ON kept_responses (project_id, owner_id, id);
CREATE TABLE kept_response_items (
	holder_id VARCHAR(64) NOT NULL, 
	place INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	side VARCHAR(8) NOT NULL, 
	content BLOB NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (holder_id, place), 
	CONSTRAINT uq_kept_response_items_holder_id UNIQUE (holder_id, id)
);
CREATE INDEX ix_kept_response_items_project_id ON kept_response_items (project_id);
CREATE INDEX ix_kept_response_items_expires_at ON kept_response_items (expires_at);
CREATE INDEX ix_kept_response_items_id ON kept_response_items (id);
CREATE TABLE kept_response_events (
	holder_id VARCHAR(64) NOT NULL, 
	first INTEGER NOT NULL, 
	count INTEGER NOT NULL, 
	content BLOB NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (holder_id, first)
);
CREATE INDEX ix_kept_response_events_project_id ON kept_response_events (project_id);
CREATE INDEX ix_kept_response_events_expires_at ON kept_response_events (expires_at);
CREATE TABLE kept_completions (
	id VARCHAR(64) NOT NULL, 
	model VARCHAR(128) NOT NULL, 
	private BOOLEAN NOT NULL, 
	header BLOB NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_kept_completions_project_id ON kept_completions (project_id, id);
CREATE INDEX ix_kept_completions_expires_at ON kept_completions (expires_at);
CREATE INDEX ix_kept_completions_owner_id ON kept_completions (project_id, owner_id, id);
CREATE TABLE kept_completion_messages (
	holder_id VARCHAR(64) NOT NULL, 
	place INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	side VARCHAR(8) NOT NULL, 
	content BLOB NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (holder_id, place), 
	CONSTRAINT uq_kept_completion_messages_holder_id UNIQUE (holder_id, id)
);
CREATE INDEX ix_kept_completion_messages_project_id ON kept_completion_messages (project_id);
CREATE INDEX ix_kept_completion_messages_expires_at ON kept_completion_messages (expires_at);
CREATE INDEX ix_kept_completion_messages_id ON kept_completion_messages (id);
CREATE TABLE kept_completion_labels (
	holder_id VARCHAR(64) NOT NULL, 
	digest BLOB NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (holder_id, digest)
);
CREATE INDEX ix_kept_completion_labels_project_id ON kept_completion_labels (project_id);
CREATE INDEX ix_kept_completion_labels_expires_at ON kept_completion_labels (expires_at);
CREATE INDEX ix_kept_completion_labels_digest ON kept_completion_labels (digest);
CREATE TABLE jobs (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	payload JSON NOT NULL, 
	priority INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	cancelling BOOLEAN NOT NULL, 
	attempts INTEGER NOT NULL, 
	not_before_ms BIGINT NOT NULL, 
	worker VARCHAR(64) NOT NULL, 
	token INTEGER NOT NULL, 
	lease_until_ms BIGINT NOT NULL, 
	total INTEGER NOT NULL, 
	done INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	error_code VARCHAR(64) NOT NULL, 
	created_at INTEGER NOT NULL, 
	started_at INTEGER, 
	finished_at INTEGER, subject VARCHAR(64) DEFAULT '' NOT NULL, private BOOLEAN DEFAULT 1 NOT NULL, pausing BOOLEAN DEFAULT 0 NOT NULL, stage VARCHAR(16) DEFAULT '' NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_jobs_project_id ON jobs (project_id);
CREATE INDEX ix_jobs_state ON jobs (state, priority, id);
CREATE TABLE job_events (
	job_id VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	created_at INTEGER NOT NULL, 
	event VARCHAR(32) NOT NULL, 
	detail VARCHAR(200) NOT NULL, 
	PRIMARY KEY (job_id, number)
);
CREATE TABLE kept_batches (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	private BOOLEAN NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	key_id VARCHAR(64) NOT NULL, 
	auth_method VARCHAR(64) NOT NULL, 
	dialect VARCHAR(16) NOT NULL, 
	endpoint VARCHAR(64) NOT NULL, 
	input_file_id VARCHAR(64) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	model VARCHAR(128) NOT NULL, 
	enqueued_tokens BIGINT NOT NULL, 
	total INTEGER NOT NULL, 
	completed INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	input_tokens BIGINT NOT NULL, 
	cached_tokens BIGINT NOT NULL, 
	output_tokens BIGINT NOT NULL, 
	reasoning_tokens BIGINT NOT NULL, 
	output_file_id VARCHAR(64) NOT NULL, 
	error_file_id VARCHAR(64) NOT NULL, 
	header BLOB NOT NULL, 
	problems BLOB NOT NULL, 
	ends_at INTEGER NOT NULL, 
	in_progress_at INTEGER, 
	finalizing_at INTEGER, 
	cancelling_at INTEGER, 
	ended_at INTEGER, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_kept_batches_expires_at ON kept_batches (expires_at);
CREATE INDEX ix_kept_batches_project_id ON kept_batches (project_id, id);
CREATE TABLE kept_batch_results (
	batch_id VARCHAR(64) NOT NULL, 
	line INTEGER NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	failed BOOLEAN NOT NULL, 
	size INTEGER NOT NULL, 
	content BLOB NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (batch_id, line)
);
CREATE INDEX ix_kept_batch_results_project_id ON kept_batch_results (project_id);
CREATE INDEX ix_kept_batch_results_expires_at ON kept_batch_results (expires_at);
CREATE INDEX ix_jobs_subject ON jobs (subject);
CREATE TABLE kept_tuning_jobs (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	private BOOLEAN NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	key_id VARCHAR(64) NOT NULL, 
	auth_method VARCHAR(64) NOT NULL, 
	dialect VARCHAR(16) NOT NULL, 
	model VARCHAR(256) NOT NULL, 
	method VARCHAR(16) NOT NULL, 
	seed INTEGER NOT NULL, 
	export VARCHAR(16) NOT NULL, 
	training_file VARCHAR(64) NOT NULL, 
	validation_file VARCHAR(64) NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	header BLOB NOT NULL, 
	error BLOB NOT NULL, 
	resolved JSON NOT NULL, 
	fine_tuned_model VARCHAR(256) NOT NULL, 
	result_files JSON NOT NULL, 
	steps INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	tokens BIGINT NOT NULL, 
	charged_tokens BIGINT NOT NULL, 
	crashes INTEGER NOT NULL, 
	estimated_finish INTEGER, 
	ended_at INTEGER, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, stage VARCHAR(16) DEFAULT '' NOT NULL, preemptions INTEGER DEFAULT '0' NOT NULL, stretch INTEGER DEFAULT '0' NOT NULL, stretch_step INTEGER DEFAULT '0' NOT NULL, stretch_began_us BIGINT, stretch_seen_us BIGINT, room JSON, device_us BIGINT DEFAULT '0' NOT NULL, core_us BIGINT DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_kept_tuning_jobs_expires_at ON kept_tuning_jobs (expires_at);
CREATE INDEX ix_kept_tuning_jobs_project_id ON kept_tuning_jobs (project_id, id);
CREATE TABLE kept_tuning_events (
	id VARCHAR(64) NOT NULL, 
	tuning_id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	level VARCHAR(8) NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	content BLOB NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_kept_tuning_events_project_id ON kept_tuning_events (project_id);
CREATE INDEX ix_kept_tuning_events_expires_at ON kept_tuning_events (expires_at);
CREATE INDEX ix_kept_tuning_events_tuning_id ON kept_tuning_events (tuning_id, id);
CREATE TABLE kept_tuning_checkpoints (
	id VARCHAR(64) NOT NULL, 
	tuning_id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	step INTEGER NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	model VARCHAR(256) NOT NULL, 
	metrics JSON NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_kept_tuning_checkpoints_project_id ON kept_tuning_checkpoints (project_id);
CREATE INDEX ix_kept_tuning_checkpoints_expires_at ON kept_tuning_checkpoints (expires_at);
CREATE UNIQUE INDEX ix_kept_tuning_checkpoints_tuning_id ON kept_tuning_checkpoints (tuning_id, step);
CREATE TABLE kept_evals (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	private BOOLEAN NOT NULL, 
	header BLOB NOT NULL, 
	updated_at INTEGER NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_kept_evals_expires_at ON kept_evals (expires_at);
CREATE INDEX ix_kept_evals_project_id ON kept_evals (project_id, id);
CREATE TABLE kept_eval_runs (
	id VARCHAR(64) NOT NULL, 
	eval_id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	private BOOLEAN NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	key_id VARCHAR(64) NOT NULL, 
	auth_method VARCHAR(64) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	model VARCHAR(256) NOT NULL, 
	deployment VARCHAR(128) NOT NULL, 
	catalog_model VARCHAR(256) NOT NULL, 
	total INTEGER NOT NULL, 
	passed INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	errored INTEGER NOT NULL, 
	tally JSON NOT NULL, 
	usage JSON NOT NULL, 
	header BLOB NOT NULL, 
	"plan" BLOB NOT NULL, 
	problem BLOB NOT NULL, 
	started_at INTEGER, 
	ended_at INTEGER, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_kept_eval_runs_expires_at ON kept_eval_runs (expires_at);
CREATE INDEX ix_kept_eval_runs_eval_id ON kept_eval_runs (eval_id, id);
CREATE INDEX ix_kept_eval_runs_project_id ON kept_eval_runs (project_id, status);
CREATE TABLE kept_eval_items (
	run_id VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	status VARCHAR(8) NOT NULL, 
	scores JSON NOT NULL, 
	content BLOB NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	PRIMARY KEY (run_id, number)
);
CREATE INDEX ix_kept_eval_items_expires_at ON kept_eval_items (expires_at);
CREATE INDEX ix_kept_eval_items_project_id ON kept_eval_items (project_id);
CREATE TABLE artifacts (
	id VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	name VARCHAR(2048) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	facts JSON NOT NULL, 
	created_at INTEGER NOT NULL, 
	seq BIGINT NOT NULL, 
	segment INTEGER NOT NULL, 
	"offset" BIGINT NOT NULL, writer VARCHAR(64) DEFAULT 'main' NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_artifacts_digest ON artifacts (digest);
CREATE INDEX ix_artifacts_name ON artifacts (name);
CREATE TABLE artifact_parents (
	artifact_id VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	parent VARCHAR(64) NOT NULL, 
	PRIMARY KEY (artifact_id, number)
);
CREATE INDEX ix_artifact_parents_parent ON artifact_parents (parent);
CREATE INDEX ix_kept_conversations_shared ON kept_conversations (project_id, id) WHERE shared IS 1;
CREATE TABLE changes (
	name VARCHAR(64) NOT NULL, 
	number BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE gateways (
	name VARCHAR(64) NOT NULL, 
	home VARCHAR(64) NOT NULL, 
	version VARCHAR(64) NOT NULL, 
	schema VARCHAR(16) NOT NULL, 
	url VARCHAR(512) NOT NULL, 
	started_at BIGINT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	left_at BIGINT, 
	PRIMARY KEY (name)
);
CREATE TABLE lease_holders (
	holder VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	epoch BIGINT NOT NULL, 
	seen_us BIGINT NOT NULL, 
	PRIMARY KEY (holder)
);
CREATE TABLE lease_accounts (
	measure VARCHAR(16) NOT NULL, 
	subject VARCHAR(512) NOT NULL, 
	most NUMERIC(40, 0) NOT NULL, 
	used NUMERIC(40, 0) NOT NULL, 
	updated_us BIGINT NOT NULL, former VARCHAR DEFAULT '' NOT NULL, 
	PRIMARY KEY (measure, subject)
);
CREATE TABLE lease_slices (
	measure VARCHAR(16) NOT NULL, 
	subject VARCHAR(512) NOT NULL, 
	holder VARCHAR(64) NOT NULL, 
	amount NUMERIC(40, 0) NOT NULL, 
	used NUMERIC(40, 0) NOT NULL, 
	spent NUMERIC(40, 0) NOT NULL, 
	seen_us BIGINT NOT NULL, 
	short_us BIGINT NOT NULL, oldest_us BIGINT DEFAULT '0' NOT NULL, taken VARCHAR DEFAULT '' NOT NULL, 
	PRIMARY KEY (measure, subject, holder)
);
CREATE INDEX ix_lease_slices_holder ON lease_slices (holder);
CREATE TABLE training_jobs (
	id VARCHAR(64) NOT NULL, 
	organization_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(64) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	key_id VARCHAR(64) NOT NULL, 
	auth_method VARCHAR(64) NOT NULL, 
	private BOOLEAN NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	recipe JSON NOT NULL, 
	data VARCHAR(4096) NOT NULL, 
	out VARCHAR(4096) NOT NULL, 
	needs JSON NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	steps INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	stretch INTEGER NOT NULL, 
	stretch_step INTEGER NOT NULL, 
	crashes INTEGER NOT NULL, 
	preemptions INTEGER NOT NULL, 
	tokens BIGINT NOT NULL, 
	device_us BIGINT NOT NULL, 
	core_us BIGINT NOT NULL, 
	cost_micro BIGINT NOT NULL, 
	metrics JSON NOT NULL, 
	room JSON, 
	stretch_began_us BIGINT, 
	stretch_seen_us BIGINT, 
	order_id VARCHAR(128) NOT NULL, 
	error_code VARCHAR(64) NOT NULL, 
	error VARCHAR(2000) NOT NULL, 
	created_at INTEGER NOT NULL, 
	ended_at INTEGER, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_training_jobs_job_id ON training_jobs (job_id);
CREATE INDEX ix_training_jobs_project_id ON training_jobs (project_id, id);
CREATE TABLE answer_claims (
	project_id VARCHAR(64) NOT NULL, 
	key_digest BLOB NOT NULL, 
	body_digest BLOB NOT NULL, 
	gateway VARCHAR(64) NOT NULL, 
	claim VARCHAR(64) NOT NULL, 
	PRIMARY KEY (project_id, key_digest)
);
CREATE INDEX ix_answer_claims_gateway ON answer_claims (gateway);
CREATE INDEX ix_answer_claims_claim ON answer_claims (claim);
CREATE INDEX ix_kept_responses_open ON kept_responses (gateway) WHERE status IN ('queued', 'in_progress');
CREATE TABLE cluster_leads (
	cluster VARCHAR(255) NOT NULL, 
	holder VARCHAR(64) NOT NULL, 
	epoch BIGINT NOT NULL, 
	since_us BIGINT NOT NULL, 
	expires_us BIGINT NOT NULL, 
	number BIGINT NOT NULL, 
	PRIMARY KEY (cluster)
);
CREATE TABLE cluster_replicas (
	cluster VARCHAR(255) NOT NULL, 
	replica VARCHAR(255) NOT NULL, 
	epoch BIGINT NOT NULL, 
	body VARCHAR NOT NULL, 
	PRIMARY KEY (cluster, replica)
);
CREATE TABLE cluster_wants (
	cluster VARCHAR(255) NOT NULL, 
	gateway VARCHAR(64) NOT NULL, 
	known BIGINT NOT NULL, 
	seen_us BIGINT NOT NULL, 
	body VARCHAR NOT NULL, 
	PRIMARY KEY (cluster, gateway)
);
CREATE TABLE calibrations (
	deployment VARCHAR(256) NOT NULL, 
	machine VARCHAR(512) NOT NULL, 
	number BIGINT NOT NULL, 
	body JSON NOT NULL, 
	PRIMARY KEY (deployment, machine)
)
