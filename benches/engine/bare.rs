//! The bare engine: a process with one session of ONNX Runtime, with the settings that the server uses, that
//! runs batches one after the other for as long as it is told.

use std::{
    env,
    io::{BufRead, BufReader, Write, stdin, stdout},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use despina::backend::onnxruntime;
use ort::{
    environment::{Environment, GlobalThreadPoolOptions},
    session::Session,
    value::TensorRef,
};

use super::{contender::Measured, process};

/// The process, asked line by line.
pub struct Bare {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    row: String,
}

impl Bare {
    /// Starts it with a model whose rows have that shape.
    pub fn start(file: &Path, row: &[i64]) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("--bare-engine")
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let row: Vec<_> = row.iter().map(i64::to_string).collect();
        Ok(Self {
            orders: child.stdin.take().context("no input")?,
            answers: BufReader::new(child.stdout.take().context("no output")?),
            child,
            row: row.join(","),
        })
    }

    /// Runs batches of so many rows.
    pub fn measure(&mut self, rows: usize, duration: Duration) -> Result<Measured> {
        writeln!(
            self.orders,
            "{rows} {} {}",
            self.row,
            duration.as_secs_f64()
        )?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let numbers: Vec<f64> = answer
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let [rows_per_second, rows_per_cpu_second] = numbers[..] else {
            return Err(anyhow!("the bare engine ended"));
        };
        Ok(Measured {
            rows_per_second,
            rows_per_cpu_second,
        })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Is that process, until its input ends.
pub fn serve(file: &Path) -> Result<()> {
    let environment = environment()?;
    let builder = Session::builder(&environment)?.with_memory_pattern(false);
    let mut builder = builder.map_err(|error| anyhow!("{error}"))?;
    let mut session = builder.commit_from_file(file)?;
    for order in stdin().lock().lines() {
        let order = order?;
        let mut words = order.split(' ');
        let mut word = || words.next().context("an order is cut short");
        let rows: i64 = word()?.parse()?;
        let mut shape = vec![rows];
        for dim in word()?.split(',') {
            shape.push(dim.parse()?);
        }
        let duration = Duration::try_from_secs_f64(word()?.parse()?)?;
        let measured = run(&mut session, &shape, duration)?;
        println!(
            "{} {}",
            measured.rows_per_second, measured.rows_per_cpu_second
        );
        stdout().flush()?;
    }
    Ok(())
}

fn environment() -> Result<Environment> {
    let library = onnxruntime::locate(&onnxruntime::Config::default()).map_err(|e| anyhow!(e))?;
    let builder = ort::init_from(&library.path)?;
    let pool = GlobalThreadPoolOptions::default()
        .with_intra_threads(thread::available_parallelism().map_or(1, usize::from))?
        .with_inter_threads(1)?
        .with_spin_control(false)?
        .with_flush_to_zero()?;
    Ok(builder.with_global_thread_pool(pool).build()?)
}

fn run(session: &mut Session, shape: &[i64], duration: Duration) -> Result<Measured> {
    let count: i64 = shape.iter().product();
    let input: Vec<f32> = (0..count)
        .map(|index| (index % 255) as f32 / 255.0)
        .collect();
    let mut batches = 0.0;
    let mut begin = None;
    let warm = Instant::now() + duration / 5;
    loop {
        let tensor = TensorRef::from_array_view((shape.to_vec(), &input[..]))?;
        let outputs = session.run(ort::inputs![tensor])?;
        ensure!(outputs.len() == 1, "the model has one output");
        drop(outputs);
        match begin {
            None if Instant::now() >= warm => {
                begin = Some((Instant::now(), process::cpu_time(None)?));
            }
            None => {}
            Some((start, cpu)) => {
                batches += 1.0;
                let took = start.elapsed();
                if took >= duration {
                    let rows = batches * shape[0] as f64;
                    let cpu = process::cpu_time(None)? - cpu;
                    return Ok(Measured {
                        rows_per_second: rows / took.as_secs_f64(),
                        rows_per_cpu_second: rows / cpu.as_secs_f64(),
                    });
                }
            }
        }
    }
}
