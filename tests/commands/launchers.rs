//! A program without MPI that a launcher starts several times: each rank would work alone, so it is
//! refused. A plain run in a batch script is not.

use crate::support::program::Workplace;

const CONFIG: &str = r#"
[data]
dataset = "iris"
[model]
hidden = [3]
[optimizer]
learning_rate = 0.1
[train]
epochs = 1
batch_size = 10
"#;

fn command(place: &Workplace, line: &str, variables: &[(&str, &str)]) -> std::process::Command {
    let mut command = place.command(line);
    command.envs(variables.iter().copied());
    command
}

#[test]
fn several_ranks_without_mpi_are_refused_by_the_first_and_nothing_is_written() {
    let place = Workplace::new(CONFIG);
    let train = "train flowers.toml --out run --quiet --no-report";
    let first = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "0")];
    let step = [("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_PROCID", "0")];
    for variables in [first, step] {
        let errors = place.ends(&mut command(&place, train, &variables), 2);
        let [(variable, size), _] = variables;
        assert!(
            errors.contains(&format!("{size} ranks were started ({variable})"))
                && errors.contains("--features mpi")
                && errors.contains(&format!("unset {variable}")),
            "{errors}"
        );
        assert_eq!(errors.matches("error:").count(), 1, "{errors}");
    }
    let other = [("PMI_SIZE", "4"), ("PMI_RANK", "3")];
    assert_eq!(place.ends(&mut command(&place, train, &other), 2), "");
    assert!(!place.path().join("run").exists());
}

#[test]
fn a_plain_run_in_a_batch_script_and_a_single_rank_train() {
    let place = Workplace::new(CONFIG);
    let script = [("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0")];
    let single = [("OMPI_COMM_WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "0")];
    for (out, variables) in [("a", script), ("b", single)] {
        let train = format!("train flowers.toml --out {out} --quiet --no-report");
        place.ends(&mut command(&place, &train, &variables), 0);
    }
}
