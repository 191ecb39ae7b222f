package Gate::Process;

# A process in a group of its own that never outlives its test, however the test ends.

use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(sleep time);

my $creator = $$;
my %running;

# Starts a command; options: out => file for stdout and stderr.
sub start {
    my ($class, $options, @command) = @_;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        setpgrp(0, 0);
        die_with_parent();
        if ($options->{out}) {
            open STDOUT, '>>', $options->{out} or POSIX::_exit(126);
            open STDERR, '>&', \*STDOUT        or POSIX::_exit(126);
        }
        open STDIN, '<', '/dev/null' or POSIX::_exit(126);
        { no warnings 'exec'; exec { $command[0] } @command; }
        POSIX::_exit(127);
    }
    my $self = bless { pid => $pid }, $class;
    $running{$pid} = $self;
    return $self;
}

# Starts a command that prints `listening ADDRESS` once it serves.
sub start_listening {
    my ($class, @command) = @_;
    die "no program: set GATE_TESTKIT, or run apxs/test\n" unless $command[0];
    pipe my $read, my $write or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        setpgrp(0, 0);
        die_with_parent();
        open STDOUT, '>&', $write or POSIX::_exit(126);
        { no warnings 'exec'; exec { $command[0] } @command; }
        POSIX::_exit(127);
    }
    close $write;
    my $line = <$read> // '';
    my $self = bless { pid => $pid, pipe => $read }, $class;
    $running{$pid} = $self;
    ($self->{address}) = $line =~ /^listening (\S+)/ or die "@command did not start: $line";
    return $self;
}

sub pid     { return $_[0]{pid} }
sub address { return $_[0]{address} }

# True while it runs.
sub alive {
    my ($self) = @_;
    return 0 if defined $self->{status};
    if (waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid}) {
        $self->{status} = $?;
        delete $running{ $self->{pid} };
    }
    return !defined $self->{status};
}

sub wait_gone {
    my ($self, $seconds) = @_;
    my $until = time + $seconds;
    sleep 0.02 while $self->alive && time < $until;
    return !$self->alive;
}

# Asks it to end, and after 10 s makes it and its whole group.
sub stop {
    my ($self) = @_;
    return if defined $self->{status};
    kill TERM => $self->{pid};
    $self->wait_gone(10);
    kill KILL => -$self->{pid};
    $self->wait_gone(2);
    return;
}

# prctl(PR_SET_PDEATHSIG, SIGTERM): holds even where the test is killed.
sub die_with_parent {
    my $machine = (POSIX::uname())[4];
    my $number = { x86_64 => 157, aarch64 => 167 }->{$machine} or return;
    syscall $number, 1, POSIX::SIGTERM(), 0, 0, 0;
    return;
}

END {
    if ($$ == $creator) {
        my $status = $?;
        $_->stop for values %running;
        $? = $status;
    }
}

# A test that is told to end still runs its END blocks.
$SIG{$_} = sub { exit 1 }
    for qw(TERM INT HUP);

1;
