//! Serving features beside Redis: `penstock serve` and `redis-server` hold the same values, and the same clients ask each
//! in turn, in one run on this machine. Servers and clients are processes of their own.

mod client;
mod fill;
mod latency;
mod server;

use anyhow::{Result, ensure};

pub(crate) use self::client::{Load, run as load};
use self::client::{Protocol, ask};
use self::fill::Features;
use self::server::{DynamoDb, Penstock, Redis};
use crate::{Arguments, Figures};

/// Features of the group.
const FEATURES: usize = 10;
/// Entities of a large request: 500 values, as keys of an MGET.
const ENTITIES: usize = 50;
/// Connections of each client, and requests on their way on each.
const CONNECTIONS: usize = 2;
const DEPTH: usize = 4;

/// Entities that are held; of a table a tenth, since it takes each by itself.
const HELD: u64 = 10_000;

pub(crate) fn measure(figures: &mut Figures, arguments: &Arguments) -> Result<()> {
    let quick = arguments.quick;
    let held = if quick { HELD / 10 } else { HELD };
    let folder = tempfile::tempdir()?;
    let features = Features::new(held);
    features.write_speed(folder.path(), arguments.events / 5, figures)?;
    features.fill_embedded(&folder.path().join("store"))?;
    let seconds = if quick { 1.0 } else { 5.0 };

    println!("\n{ENTITIES} entities with {FEATURES} features each, and as many keys of Redis");
    let redis = Redis::start(folder.path())?;
    features.fill_redis(redis.address())?;
    let warm = Penstock::start(
        folder.path(),
        "warm",
        "cache = { bytes = \"256MiB\", max_age = \"1h\" }",
    )?;
    let large = |protocol, address: &str| Load {
        protocol,
        address: address.to_owned(),
        connections: CONNECTIONS,
        depth: DEPTH,
        entities: ENTITIES,
        held,
        seconds,
    };
    // All of it is in the cache afterwards.
    ask(&Load {
        seconds: 0.0,
        ..large(Protocol::Grpc, warm.grpc())
    })?;
    let [mut grpc, mut rest, mut mget] = [0.0_f64; 3];
    for _ in 0..arguments.rounds {
        mget = mget.max(ask(&large(Protocol::Redis, redis.address()))?);
        grpc = grpc.max(ask(&large(Protocol::Grpc, warm.grpc()))?);
        rest = rest.max(ask(&large(Protocol::Rest, warm.rest()))?);
    }
    ensure!(mget > 0.0, "Redis answers");
    println!("  redis MGET           {mget:>12.0} values/s");
    let mut told = |name: &str, shown: &str, values: f64| {
        println!(
            "  {shown:<20} {values:>12.0} values/s  {:>6.2} of Redis",
            values / mget
        );
        figures.insert(format!("{name}_per_s"), values);
        figures.insert(format!("{name}_per_s_vs_redis_mget"), values / mget);
    };
    told("values", "grpc", grpc);
    told("rest_values", "rest", rest);
    let cold = Penstock::start(folder.path(), "cold", "cache = { max_age = \"0s\" }")?;
    told(
        "embedded_values",
        "embedded, no cache",
        ask(&large(Protocol::Grpc, cold.grpc()))?,
    );
    drop(cold);
    let few = held / 10;
    let table = DynamoDb::start()?;
    features.fill_table(&table, few)?;
    let settings = format!("cache = {{ max_age = \"0s\" }}\n{}", table.settings());
    let of_table = Penstock::start(folder.path(), "table", &settings)?;
    let values = ask(&Load {
        held: few,
        ..large(Protocol::Grpc, of_table.grpc())
    })?;
    told("dynamodb_values", "DynamoDB Local", values);
    drop((of_table, table, redis));
    figures.insert("redis_values_per_s".into(), mget);
    latency::measure(&warm, held, seconds, arguments.rounds, figures)
}
