package Gate::Load;

# Clients that ask without pause until they are told to stop, and write down what was not as wanted.

use strict;
use warnings;
use JSON ();
use POSIX ();
use Time::HiRes qw(sleep);
use File::Temp ();
use Gate::Client ();

# start(clients => N, ask => sub { ($number) -> Gate::Answer }, good => sub { ($answer) -> true })
sub start {
    my ($class, %how) = @_;
    my $dir = File::Temp->newdir('gate-load-XXXXXX', TMPDIR => 1);
    my $good = $how{good} || sub { $_[0]->status == 200 };
    my @pids;
    for my $client (1 .. $how{clients} || 3) {
        my $pid = fork // die "fork: $!";
        if ($pid) { push @pids, $pid; next }
        # _exit below, so that no END block of the test runs here.
        eval {
            my ($count, @bad) = (0);
            while (!-e "$dir/stop") {
                my $answer = $how{ask}->($client);
                $count++;
                push @bad, substr($answer->as_string, 0, 300) if !$good->($answer) && @bad < 20;
                %Gate::Httpd::answers = ();
            }
            open my $out, '>', "$dir/$client.new" or die;
            print {$out} JSON::encode_json({ count => $count, bad => \@bad });
            close $out;
            rename "$dir/$client.new", "$dir/$client";
        };
        POSIX::_exit($@ ? 1 : 0);
    }
    return bless { dir => $dir, pids => \@pids }, $class;
}

# (how many were asked, what went wrong)
sub stop {
    my ($self) = @_;
    open my $flag, '>', "$self->{dir}/stop" or die "stop: $!";
    close $flag;
    my ($count, @bad) = (0);
    for my $at (0 .. $#{ $self->{pids} }) {
        waitpid $self->{pids}[$at], 0;
        push @bad, 'a client ended with ' . ($? >> 8) if $?;
        open my $in, '<', "$self->{dir}/" . ($at + 1) or next;
        my $said = JSON::decode_json(do { local $/; <$in> });
        $count += $said->{count};
        push @bad, @{ $said->{bad} };
    }
    return ($count, @bad);
}

1;
