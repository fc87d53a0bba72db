# Runs the C unit tests, t/c/test_*.c, that make has built, and passes their results on as its own.
# Set EASYTCP_C_WRAPPER to run each under a command, such as "valgrind -q --error-exitcode=9", and
# EASYTCP_C_EXCEPT to the names of those that are not to run, such as "wire_replay codec_cipher".

use strict;
use warnings;

use Config;

$| = 1;

my @sources = sort glob 't/c/test_*.c';
if (!@sources) {
    print "1..0 # SKIP the sources of the C unit tests are not here\n";
    exit 0;
}

my ($tests, $failed) = (0, 0);

sub report {
    my ($passed, $text) = @_;
    $tests++;
    $failed++ if !$passed;
    print $passed ? '' : 'not ', "ok $tests - $text\n";
}

# The program prints TAP of its own: its tests are renumbered, its plan is checked, the rest is kept.
sub run_program {
    my ($name, $program) = @_;
    my $wrapper = defined $ENV{EASYTCP_C_WRAPPER} ? "$ENV{EASYTCP_C_WRAPPER} " : '';
    my ($seen, $plan) = (0, -1);

    open my $out, "$wrapper$program |" or return report(0, "$name: cannot run: $!");
    while (my $line = <$out>) {
        chomp $line;
        if ($line =~ /^(not )?ok \d+(?: - )?(.*)/) {
            $seen++;
            report(!$1, "$name: $2");
        }
        elsif ($line =~ /^1\.\.(\d+)/) {
            $plan = $1;
        }
        elsif ($line =~ /^Bail out!/) {
            report(0, "$name: $line");
        }
        else {
            print "# $name: $line\n";
        }
    }
    close $out;
    my $ended = $? & 127 ? 'by signal ' . ($? & 127) : 'with status ' . ($? >> 8);
    report($? == 0 && $plan == $seen, "$name: ran $seen tests of $plan, ended $ended");
}

my $missing = 0;
my %except  = map { $_ => 1 } split ' ', $ENV{EASYTCP_C_EXCEPT} || '';
for my $source (@sources) {
    my ($name) = $source =~ m{test_(\w+)\.c\z};
    next if $except{$name};
    my $program = "t/c/test_$name$Config{_exe}";
    if (-x $program) {
        run_program($name, $program);
    }
    else {
        $missing++;
        $tests++;
        print "ok $tests # SKIP $name was not built: run make c_tests\n";
    }
}
print "1..$tests\n";
print STDERR "# $failed of $tests C unit tests failed\n" if $failed;
exit($failed ? 1 : 0);
