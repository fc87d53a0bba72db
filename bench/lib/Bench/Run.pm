package Bench::Run;

# One measurement: builds what it needs, starts a server, lets the load generator work on it, ends both.
# Whatever happens, no process stays behind.

use strict;
use warnings;

use Config;
use Exporter ();
use File::Basename qw(dirname);
use File::Spec;
use IO::Select;
use POSIX ();
use Time::HiRes qw(sleep time);

our @ISA       = qw(Exporter);
our @EXPORT_OK = qw(compile cpu_of measure on_cpu start_server end_process with_descriptors);

my $PATIENCE = 20;    # seconds for anything that should take one or two

my %running;

END {
    my $status = $?;
    end_process($_) for keys %running;
    $? = $status;
}
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

# Has a program of bench/, given by its name, compiled into a directory, with flags for its libraries. Returns
# its path.
sub compile {
    my ($name, $directory, @libraries) = @_;
    my $program = File::Spec->catfile($directory, $name);
    my $source  = File::Spec->catfile(dirname(__FILE__), File::Spec->updir, File::Spec->updir, "$name.c");
    my $command = "$Config{cc} -O2 -D_GNU_SOURCE -o '$program' '$source' @libraries";
    system($command) == 0 or die "Cannot compile $name.c\n";
    return $program;
}

# What to put in front of commands that are to share a CPU: this one, the last if none is given, or nothing
# where that is "none" or there is no taskset.
sub on_cpu {
    my $cpu = shift;
    return if defined $cpu && $cpu eq 'none';
    my $affinity = `taskset -cp $$ 2>/dev/null`;
    ($cpu) = $affinity =~ /(\d+)\s*\z/ if !defined $cpu && defined $affinity;
    return defined $cpu ? ('taskset', '-c', $cpu) : ();
}

# Seconds of CPU that a process has taken so far, from /proc.
sub cpu_of {
    my $pid = shift;
    open my $file, '<', "/proc/$pid/schedstat" or die "Cannot read /proc/$pid/schedstat: $!\n";
    return (split ' ', scalar <$file>)[0] / 1e9;
}

# A thousand connections need more descriptors than some systems allow at first.
sub with_descriptors {
    my @command = @_;
    my $more = 'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)" 2>/dev/null';
    return ('sh', '-c', "$more; exec \"\$@\"", 'sh', @command);
}

# Returns its process id and a handle on what it prints.
sub _start {
    my @command = @_;
    pipe my $from_child, my $to_parent or die "Cannot create a pipe: $!\n";
    my $pid = fork;
    defined $pid or die "Cannot fork: $!\n";
    if (!$pid) {
        %running = ();
        open STDOUT, '>&', $to_parent or POSIX::_exit(1);
        exec @command or POSIX::_exit(1);
    }
    $running{$pid} = 1;
    return ($pid, $from_child);
}

# What comes from the handle until the pattern matches, the other end is closed or patience is over.
sub _read_until {
    my ($handle, $pattern) = @_;
    my $select = IO::Select->new($handle);
    my $end    = time + $PATIENCE;
    my $text   = '';
    while ($text !~ $pattern) {
        my $left = $end - time;
        last if $left <= 0 || !$select->can_read($left);
        last if !sysread $handle, $text, 4096, length $text;
    }
    return $text;
}

sub end_process {
    my $pid = shift;
    delete $running{$pid} or return;
    kill TERM => $pid;
    for (1 .. 100) {
        return if waitpid($pid, POSIX::WNOHANG()) != 0;
        sleep 0.01;
    }
    kill KILL => $pid;
    waitpid $pid, 0;
}

# Returns the process id, the name and version that it announced, its port, and "beside=" with other
# processes that it consists of, if it tells any; nothing if it fails.
sub start_server {
    my @command = @_;
    my ($pid, $out) = _start(with_descriptors(@command));
    my $ready = qr/^READY (.*?) (\d+)(?: (beside=[\d,]+))?\n/m;
    my $text  = _read_until($out, $ready);
    return ($pid, $1, $2, defined $3 ? $3 : ()) if $text =~ $ready;
    end_process($pid);
    return;
}

# Returns { rate, cpu, own, peak } or { error }.
sub measure {
    my ($server, $load) = @_;
    my ($pid, undef, $port, @beside) = start_server(@$server)
      or return { error => 'the server did not start' };
    my ($load_pid, $out) = _start(with_descriptors(@$load, "port=$port", "server=$pid", @beside));
    my $text = _read_until($out, qr/(?!)/);
    end_process($_) for $load_pid, $pid;
    my %result = $text =~ /^(\w+) (.+)$/mg;
    return \%result if $result{rate} || $result{error};
    return { error => 'no result' };
}

1;
