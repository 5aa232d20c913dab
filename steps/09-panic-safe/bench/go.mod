// The bench of step 09 is a module of its own, outside go.work: what the peers
// require must not raise what a step requires.
module plaque/steps/09-panic-safe/bench

go 1.26.0

replace (
	plaque/steps/09-panic-safe => ../
	plaque/steps/kit => ../../kit
)

require (
	github.com/jellydator/ttlcache/v3 v3.4.1
	github.com/maypok86/otter/v2 v2.4.0
	github.com/viccon/sturdyc v1.1.5
	golang.org/x/sync v0.25.0
	plaque/steps/09-panic-safe v0.0.0
	resenje.org/singleflight v0.4.3
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel v1.47.0 // indirect
	go.opentelemetry.io/otel/log v1.47.0 // indirect
	go.opentelemetry.io/otel/metric v1.47.0 // indirect
	go.opentelemetry.io/otel/trace v1.47.0 // indirect
)
