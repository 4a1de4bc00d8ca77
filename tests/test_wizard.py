import pytest
from invoke.exceptions import ResponseNotAccepted

from slurm_cluster.steps import wizard


def answers(stream, watcher=None):
    return list((watcher or wizard.PromptAnswerer(wizard.DEFAULT_ANSWERS)).submit(stream))


def test_prompts_are_answered_as_the_readme_says():
    assert answers("Allowed values for Scheduler:\r\n1. slurm\r\nScheduler [slurm]: ") == ["slurm\n"]
    assert answers("Automate VPC creation? (y/n) [n]: ") == ["y\n"]


def test_answers_for_one_cluster():
    answers = wizard.get_answers("eu-west-2", "one", ["t3.xlarge", "t3.large"])
    assert {question: answer for question, answer in answers.items() if answer} == {
        "AWS Region ID": "eu-west-2",
        "EC2 Key Pair Name": "one",
        "Scheduler": "slurm",
        "Operating System": "ubuntu2404",
        "Head node instance type": "t3.xlarge",
        "Compute instance type": "t3.large",
        "Automate VPC creation?": "y",
        "Network Configuration": "Head node in a public subnet and compute fleet in a private subnet",
        "Automate Subnet creation?": "y",
    }


def test_unknown_types_get_the_wizards_default():
    answers = wizard.get_answers("eu-west-2", "one", [])
    assert answers["Head node instance type"] is answers["Compute instance type"] is None


def test_other_prompts_get_their_default():
    assert answers("Number of queues [1]: ") == ["\n"]


def test_each_prompt_is_answered_once():
    watcher = wizard.PromptAnswerer(wizard.DEFAULT_ANSWERS)
    stream = "Scheduler [slurm]: slurm\r\nAutomate VPC creation? (y/n) [n]: "
    given = [answer for end in range(len(stream) + 1) for answer in watcher.submit(stream[:end])]
    assert given == ["slurm\n", "y\n"]


def test_refused_answer_ends_it():
    with pytest.raises(ResponseNotAccepted, match="is not an acceptable value"):
        answers('EC2 Key Pair Name [k]: x\r\nERROR: "x" is not an acceptable value for EC2 Key Pair Name\r\n')


def test_unknown_prompt_ends_it():
    with pytest.raises(ResponseNotAccepted, match=r"it asked an unknown question \(Your favourite colour"):
        answers("Your favourite colour [blue]: ")


ADVICE = (
    "You can edit your configuration file or simply run 'pcluster create-cluster --cluster-configuration "
    "temp-config.yml --cluster-name cluster-name --region eu-west-2' to create your cluster.\r\n"
)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_wizards_advice_is_not_shown(chunk, capsys):
    screen = wizard.WizardScreen(None, lambda _: None, quiet=True)
    text = f"Your answer [y]: You\r\nConfiguration file written to temp-config.yml\r\n{ADVICE}"
    for start in range(0, len(text), chunk):
        screen.write(text[start : start + chunk])
    assert capsys.readouterr().out == text.removesuffix(ADVICE)


def test_prompt_is_shown_at_once(capsys):
    wizard.WizardScreen(None, lambda _: None, quiet=True).write("Scheduler [slurm]: ")
    assert capsys.readouterr().out == "Scheduler [slurm]: "
