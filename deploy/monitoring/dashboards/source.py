"""What the dashboards show. `generate.py` makes Grafana's JSON of it."""

from generate import Dashboard, Panel, Row, State

# Chosen by every query; without Kubernetes there is no such label, and all matches.
NS = 'namespace=~"$namespace"'

# Which gRPC codes are faults of this side: as in the rules.
FAULTS = 'code=~"UNKNOWN|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|INTERNAL|UNAVAILABLE|DATA_LOSS"'


def quantile(q, metric, by, chosen=NS):
    return f"histogram_quantile({q}, sum by (le, {by}) (rate({metric}_bucket{{{chosen}}}[$__rate_interval])))"


def by_service(metric, chosen=""):
    """A rate of requests by the service that their method belongs to."""
    services = 'rpc=~"agora[.](post|comment|moderation|query)[.].+"'
    rate = f"rate({metric}{{{NS},{services}{chosen}}}[$__rate_interval])"
    return f'label_replace({rate}, "service", "$1", "rpc", "agora[.]([a-z]+)[.].+")'


overview = Dashboard(
    "overview",
    "Overview",
    "Is Agora well, and do readers see what is written?",
    Row("Objectives over 30 days"),
    Panel(
        "Availability: burn rate",
        "How many times faster than allowed requests fail, over an hour. 1 uses up the budget in 30 days exactly.",
        "none",
        ("{{service}}", f"service:agora_request_faults:ratio_rate1h{{{NS}}} / 0.001"),
    ),
    Panel(
        "Latency: burn rate",
        "How many times faster than allowed requests take longer than 0.5 s, over an hour.",
        "none",
        ("{{service}}", f"service:agora_request_late:ratio_rate1h{{{NS}}} / 0.01"),
    ),
    Panel(
        "Visibility: burn rate",
        "How many times faster than allowed events are seen later than 1 s after they were acknowledged, over an hour.",
        "none",
        ("events", f"namespace:agora_visible_late:ratio_rate1h{{{NS}}} / 0.01"),
    ),
    Row("Requests"),
    Panel("Requests", "By the service that answers.", "reqps", ("{{service}}", f"sum by (service) ({by_service('agora_requests_total')})")),
    Panel(
        "Failed requests",
        "Those whose code is a fault of this side.",
        "reqps",
        ("{{service}}", f"sum by (service) ({by_service('agora_requests_total', ',' + FAULTS)})"),
    ),
    Panel(
        "Slowest hundredth of requests",
        "99 % of requests take no longer.",
        "s",
        ("{{service}}", f"histogram_quantile(0.99, sum by (le, service) ({by_service('agora_request_duration_seconds_bucket')}))"),
    ),
    Row("From the writer to the reader"),
    Panel(
        "From acknowledged to visible",
        "How long it takes until the view shows an event.",
        "s",
        ("99 %", quantile(0.99, "agora_visible_seconds", "namespace")),
        ("50 %", quantile(0.5, "agora_visible_seconds", "namespace")),
    ),
    Panel(
        "Behind",
        "For how long each service is not known to have applied all of a source's events.",
        "s",
        ("{{service}} behind {{source}}", f"max by (service, source) (agora_consumer_lag_seconds{{{NS}}})"),
        ("stream of {{source}}", f"max by (source) (agora_relay_lag_seconds{{{NS}}})"),
    ),
    Panel("Events", "What is committed to the journals.", "ops", ("{{event}}", f"sum by (event) (rate(agora_events_total{{{NS}}}[$__rate_interval]))")),
    Row("What somebody has to see to"),
    Panel("Dead letters", "Events that could not be applied, and what waits behind them.", "short", ("{{service}}: {{source}}", f"max by (service, source) (agora_dead_letters{{{NS}}})")),
    Panel("Open cases", "Comments that wait for a moderator.", "short", ("cases", f"max by (namespace) (agora_open_cases{{{NS}}})")),
    Panel("Alerts", "What fires.", "short", ("{{alertname}} {{service}}{{source}}", 'sum by (alertname, service, source, severity) (ALERTS{alertname=~"Agora.+",alertstate="firing"})')),
    Row("Programs"),
    State("Databases", "Whether each service's database answers.", ("{{service}} {{pod}}{{instance}}", f"min by (service, pod, instance) (agora_database_up{{{NS}}})")),
    State("NATS", "Whether each program is connected to NATS.", ("{{pod}}{{instance}}", f"min by (pod, instance) (agora_nats_connected{{{NS}}})")),
    Panel("Versions", "How many programs run of each version.", "short", ("{{program}} {{version}}", f"sum by (program, version) (agora_build_info{{{NS}}})")),
)


def of_program(name, expression):
    """What a program says of itself as a whole. With `agora up` that is all services together."""
    program = f'agora_build_info{{{NS},program=~"{name}|agora"}}'
    return f"max by (pod, instance) ({expression} * on (namespace, pod, instance) group_left () {program})"


def saturation(name, *more):
    """How much of what is limited is used."""
    chosen = f'{NS},service="{name}"'
    by = "max by (pod, instance)"
    size = "agora_commit_batch_size"
    return [
        Row("Saturation"),
        Panel("Requests in flight", "How much of server.max_in_flight is used.", "percentunit", ("{{pod}}{{instance}}", of_program(name, f"agora_requests_in_flight{{{NS}}} / agora_requests_in_flight_limit{{{NS}}}"))),
        *more,
        Panel("Commits", "How long transactions take: 99 % take no longer.", "s", ("{{work}}", quantile(0.99, "agora_commit_duration_seconds", "work", chosen))),
        Panel("Size of commits", "How many commands, or events of others, a transaction carries out on average.", "short", ("{{work}}", f"sum by (work) (rate({size}_sum{{{chosen}}}[$__rate_interval])) / sum by (work) (rate({size}_count{{{chosen}}}[$__rate_interval]))")),
        Panel("Reading connections", "How much of the pool is in use.", "percentunit", ("{{pod}}{{instance}}", f"{by} (agora_pool_in_use{{{chosen}}} / agora_pool_limit{{{chosen}}})")),
        Panel("Database file", "A SQLite file and its write-ahead log; none with PostgreSQL.", "bytes", ("file {{pod}}{{instance}}", f"{by} (agora_database_bytes{{{chosen}}})"), ("WAL {{pod}}{{instance}}", f"{by} (agora_wal_bytes{{{chosen}}})")),
        Panel("File descriptors", "How many of those that the program may have are open.", "percentunit", ("{{pod}}{{instance}}", of_program(name, f"process_open_fds{{{NS}}} / process_max_fds{{{NS}}}"))),
        Panel("Processor", "Cores in use, as the program says.", "short", ("{{pod}}{{instance}}", of_program(name, f"rate(process_cpu_seconds_total{{{NS}}}[$__rate_interval])"))),
        Panel("Resident memory", "As the program says.", "bytes", ("{{pod}}{{instance}}", of_program(name, f"process_resident_memory_bytes{{{NS}}}"))),
    ]


def queue(name):
    chosen = f'{NS},service="{name}"'
    by = "max by (pod, instance)"
    return Panel(
        "Queue of writes",
        "How much of what may wait for the committer waits.",
        "percentunit",
        ("commands {{pod}}{{instance}}", f"{by} (agora_queue_commands{{{chosen}}} / agora_queue_commands_limit{{{chosen}}})"),
        ("bytes {{pod}}{{instance}}", f"{by} (agora_queue_bytes{{{chosen}}} / agora_queue_bytes_limit{{{chosen}}})"),
    )


def service(name, *more):
    rpc = f'{NS},rpc=~"agora[.]{name}[.].+"'
    # By the container's name, which is the service's whatever the release is called.
    pod = f'{NS},pod=~".+-{name}-.+",container="{name}"'
    short = f'"rpc", "$1", "rpc", "agora[.]{name}[.]v1[.][A-Za-z]+/(.+)"'
    duration = f"rate(agora_request_duration_seconds_bucket{{{rpc}}}[$__rate_interval])"
    return Dashboard(
        name,
        name.capitalize(),
        f"The {name} service.",
        Row("Requests"),
        Panel("Requests", "By method.", "reqps", ("{{rpc}}", f"sum by (rpc) (label_replace(rate(agora_requests_total{{{rpc}}}[$__rate_interval]), {short}))")),
        Panel("Answers other than OK", "By code: those that callers cause, too.", "reqps", ("{{code}}", f'sum by (code) (rate(agora_requests_total{{{rpc},code!="OK"}}[$__rate_interval]))')),
        Panel("Slowest hundredth", "99 % of a method's requests take no longer.", "s", ("{{rpc}}", f"histogram_quantile(0.99, sum by (le, rpc) (label_replace({duration}, {short})))")),
        Panel("Median", "Half of a method's requests take no longer.", "s", ("{{rpc}}", f"histogram_quantile(0.5, sum by (le, rpc) (label_replace({duration}, {short})))")),
        Panel("Latency: burn rate", "How many times faster than allowed requests take longer than 0.5 s.", "none", ("1 h", f'service:agora_request_late:ratio_rate1h{{{NS},service="{name}"}} / 0.01'), ("6 h", f'service:agora_request_late:ratio_rate6h{{{NS},service="{name}"}} / 0.01')),
        Panel("Availability: burn rate", "How many times faster than allowed requests fail.", "none", ("1 h", f'service:agora_request_faults:ratio_rate1h{{{NS},service="{name}"}} / 0.001'), ("6 h", f'service:agora_request_faults:ratio_rate6h{{{NS},service="{name}"}} / 0.001')),
        *more,
        Row("Replicas"),
        State("Database", "Whether it answers each replica.", ("{{pod}}{{instance}}", f'min by (pod, instance) (agora_database_up{{{NS},service="{name}"}})')),
        Panel("CPU", "Cores in use. Of the kubelet.", "short", ("{{pod}}", f'sum by (pod) (rate(container_cpu_usage_seconds_total{{{pod}}}[$__rate_interval]))')),
        Panel("Memory", "The working set. Of the kubelet.", "bytes", ("{{pod}}", f'sum by (pod) (container_memory_working_set_bytes{{{pod}}})')),
        Panel("Restarts", "Within an hour. Of kube-state-metrics.", "short", ("{{pod}}", f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{pod}}}[1h]))")),
    )


def consumer(name):
    chosen = f'{NS},service="{name}"'
    return [
        Row("Events of others"),
        Panel("Behind, in events", "How much of a source's stream is not applied.", "short", ("{{source}}", f"max by (source) (agora_consumer_lag_events{{{chosen}}})")),
        Panel("Behind, in seconds", "For how long it is not known that all of a source's stream is applied.", "s", ("{{source}}", f"max by (source) (agora_consumer_lag_seconds{{{chosen}}})")),
        Panel("Applied", "Events of a source, by the replica that is quickest.", "ops", ("{{source}}", f"max by (source) (rate(agora_consumer_sequence{{{chosen}}}[$__rate_interval]))")),
        Panel("Dead letters", "Parked events by source.", "short", ("{{source}}", f"max by (source) (agora_dead_letters{{{chosen}}})")),
    ]


def owner(name):
    chosen = f'{NS},source="{name}"'
    return [
        Row("Own events"),
        Panel("Events", "What is committed to the journal.", "ops", ("{{event}}", f"sum by (event) (rate(agora_events_total{{{chosen}}}[$__rate_interval]))")),
        Panel("Not published, in events", "What the stream lacks of the journal.", "short", ("events", f"max by (namespace) (agora_relay_lag_events{{{chosen}}})")),
        Panel("Not published, age", "The age of the oldest event that the stream lacks.", "s", ("age", f"max by (namespace) (agora_relay_lag_seconds{{{chosen}}})")),
        State("Takes writes", "Whether the journal is known to agree with its stream.", ("{{pod}}{{instance}}", f"min by (pod, instance) (agora_writes_open{{{chosen}}})")),
        State("Leads", "Which replica runs the relay and the consumers.", ("{{pod}}{{instance}}", f'max by (pod, instance) (agora_leader{{{NS},service="{name}"}})')),
    ]


post = service("post", *owner("post"), *saturation("post", queue("post")))
comment = service("comment", *owner("comment"), *consumer("comment"), *saturation("comment", queue("comment")))
moderation_service = service("moderation", *owner("moderation"), *consumer("moderation"), *saturation("moderation", queue("moderation")))
query = service(
    "query",
    Row("The view"),
    Panel(
        "From acknowledged to visible",
        "How long it takes until the view shows an event; 99 % of them take no longer.",
        "s",
        ("{{source}}", quantile(0.99, "agora_visible_seconds", "source")),
    ),
    State("The owners answer", "Which replica reads from the owners' databases instead of its view.", ("{{pod}}{{instance}}", f"max by (pod, instance) (agora_fallback{{{NS}}})"), bad=1),
    Panel("Rebuild", "How much of the events a view that is made anew has folded.", "percentunit", ("{{pod}}{{instance}}", f"max by (pod, instance) (agora_rebuild_done_events{{{NS}}} / (agora_rebuild_total_events{{{NS}}} > 0))")),
    State("What a rebuild does", "Its phase, while one runs.", ("{{pod}}{{instance}} {{phase}}", f"max by (pod, instance, phase) (agora_rebuild_phase{{{NS}}})"), bad=None),
    Panel("Where views come from", "How many replicas serve a view that was found on disk, made from the streams, rebuilt and so on.", "short", ("{{origin}}", f"sum by (origin) (agora_view_origin{{{NS}}})")),
    *consumer("query"),
    *saturation("query"),
)

bus = Dashboard(
    "bus",
    "Bus",
    "Journals, relays, streams, consumers.",
    Row("Journal to stream"),
    Panel("Events committed", "How fast the journals grow.", "ops", ("{{source}}", f"max by (source) (rate(agora_journal_sequence{{{NS}}}[$__rate_interval]))")),
    Panel("Not published, in events", "What the streams lack of the journals.", "short", ("{{source}}", f"max by (source) (agora_relay_lag_events{{{NS}}})")),
    Panel("Not published, age", "The age of the oldest event that a stream lacks.", "s", ("{{source}}", f"max by (source) (agora_relay_lag_seconds{{{NS}}})")),
    State("Leaders", "Which replica runs a service's relay and consumers.", ("{{service}} {{pod}}{{instance}}", f"max by (service, pod, instance) (agora_leader{{{NS}}})")),
    State("Journal and stream agree", "Whether a source takes writes.", ("{{source}} {{pod}}{{instance}}", f"min by (source, pod, instance) (agora_writes_open{{{NS}}})")),
    State("Damaged streams", "Whether messages are missing or do not verify.", ("{{source}}", f"max by (source) (agora_stream_damaged{{{NS}}})"), bad=1),
    Row("Streams"),
    Panel("Size", "What each stream holds, and its limit if it has one.", "bytes", ("{{source}}", f"max by (source) (agora_stream_bytes{{{NS}}})"), ("limit of {{source}}", f"max by (source) (agora_stream_max_bytes{{{NS}}} > 0)")),
    Panel("Storage of NATS", "What JetStream uses of what it may. Of the exporter of NATS.", "percentunit", ("{{pod}}{{server_id}}", f"max by (pod, server_id) (nats_varz_jetstream_stats_storage{{{NS}}} / (nats_varz_jetstream_config_max_storage{{{NS}}} > 0))")),
    Panel("Slow consumers of NATS", "Connections that NATS has cut because they did not keep up. Of the exporter of NATS.", "short", ("{{pod}}{{server_id}}", f"sum by (pod, server_id) (increase(nats_varz_slow_consumers{{{NS}}}[$__rate_interval]))")),
    Row("Stream to consumer"),
    Panel("Behind, in events", "How much of a source's stream a service has not applied.", "short", ("{{service}} behind {{source}}", f"max by (service, source) (agora_consumer_lag_events{{{NS}}})")),
    Panel("Behind, in seconds", "For how long a service is not known to have applied all of a source's stream.", "s", ("{{service}} behind {{source}}", f"max by (service, source) (agora_consumer_lag_seconds{{{NS}}})")),
    Panel("Applied", "Events by the replica that is quickest.", "ops", ("{{service}}: {{source}}", f"max by (service, source) (rate(agora_consumer_sequence{{{NS}}}[$__rate_interval]))")),
    Panel("Dead letters", "Events that could not be applied, and what waits behind them.", "short", ("{{service}}: {{source}}", f"max by (service, source) (agora_dead_letters{{{NS}}})")),
    Panel("Connections to NATS made again", "How often a program had lost its own.", "short", ("{{pod}}{{instance}}", f"sum by (pod, instance) (increase(agora_nats_reconnects_total{{{NS}}}[$__rate_interval]))")),
    State("Connections to NATS", "Whether each program has one.", ("{{pod}}{{instance}}", f"min by (pod, instance) (agora_nats_connected{{{NS}}})")),
)

DECISIONS = f'{NS},source="moderation",event=~"held|(approved|rejected)_by_.+"'
RPC = f'{NS},rpc=~"agora[.]moderation[.].+"'

moderation = Dashboard(
    "moderation",
    "Moderators' work",
    "What is decided, by whom, and what waits.",
    Row("The queue"),
    Panel("Open cases", "Comments that wait for a moderator, on every site. Counted once a minute.", "short", ("cases", f"max by (namespace) (agora_open_cases{{{NS}}})")),
    Panel("The oldest case", "For how long the comment has waited that waits longest.", "s", ("age", f"max by (namespace) (agora_oldest_open_case_seconds{{{NS}}})")),
    Panel("Behind, in seconds", "For how long moderation is not known to have judged all that was written.", "s", ("{{source}}", f'max by (source) (agora_consumer_lag_seconds{{{NS},service="moderation"}})')),
    Row("Decisions"),
    Panel("Decisions", "By the policy and by moderators; what is held waits for one.", "ops", ("{{event}}", f"sum by (event) (rate(agora_events_total{{{DECISIONS}}}[$__rate_interval]))")),
    Panel("Held", "The share of the policy's verdicts that leave it to a moderator.", "percentunit", ("held", f'sum by (namespace) (rate(agora_events_total{{{NS},event="held"}}[1h])) / sum by (namespace) (rate(agora_events_total{{{NS},event=~"held|.+_by_policy"}}[1h]))')),
    Panel("Rejected", "The share of final decisions that reject.", "percentunit", ("{{event}}", f'sum by (event) (rate(agora_events_total{{{NS},event=~"rejected_by_.+"}}[1h])) / scalar(sum(rate(agora_events_total{{{NS},event=~"(approved|rejected)_by_.+"}}[1h])))')),
    Row("What moderators ask for"),
    Panel("Requests", "By method.", "reqps", ("{{rpc}}", f'sum by (rpc) (label_replace(rate(agora_requests_total{{{RPC}}}[$__rate_interval]), "rpc", "$1", "rpc", ".+/(.+)"))')),
    Panel("Two at the same case", "Decisions that came too late, as another moderator had decided.", "reqps", ("{{rpc}}", f'sum by (rpc) (label_replace(rate(agora_requests_total{{{RPC},code="ABORTED"}}[$__rate_interval]), "rpc", "$1", "rpc", ".+/(.+)"))')),
)

DASHBOARDS = [overview, post, comment, moderation_service, query, bus, moderation]
